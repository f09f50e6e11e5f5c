// Package broker is the embedded Kafka broker, and the way to a real one.
//
// The embedded broker is kfake (franz-go's pkg/kfake) with a data directory. It is for trying out, developing and testing: one
// node, no compaction, no authentication. Real deployments use Kafka.
package broker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/gofrs/flock"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"
)

// never is a hundred years in milliseconds: the largest round number that kfake can still turn into a time.Duration.
const never = "3155760000000"

// Options of an embedded broker. Only Dir (or Memory) has to be set.
type Options struct {
	// Dir holds everything the broker has to remember; it is made when missing. One process at a time may use it.
	Dir string

	// Memory keeps everything in memory instead and forgets it at Close. Dir must be empty then.
	Memory bool

	// Listen is the host:port to listen on, and the one that clients are told to use. Default "127.0.0.1:0", which takes another
	// free port at every start: give a fixed port where clients outside this process have to find the broker again. An address
	// that stands for all interfaces (":9092", "0.0.0.0:9092") is refused, as no client could be told to go there. Whoever
	// reaches the address may read and write everything.
	Listen string

	// NoSync acknowledges a record once the operating system has it, not the disk. It is faster, and still survives a killed
	// process, but not a power failure. For tests.
	NoSync bool

	// Partitions is how many a topic gets that is created without saying how many. Default 8. No topic is created by itself.
	Partitions int

	// Die is called once, when the disk does not take what is written. Nothing is acknowledged from then on: the process should end,
	// so that clients try again with the next one. Default: nobody is told.
	Die func(error)

	// Logger gets the broker's warnings. Default slog.Default().
	Logger *slog.Logger
}

// Embedded is a running embedded broker.
type Embedded struct {
	cluster *kfake.Cluster
	addr    string
	lock    *Lock    // nil in memory
	dir     *os.File // open for syncfs, or nil
	inner   sync.Map // local addresses of the connections that Dial made
	group   *groupSync
	closing sync.Once
	err     error
}

// Start starts a broker that goes on where the last one in the same directory was, however that one ended.
func Start(opts Options) (*Embedded, error) {
	if opts.Listen == "" {
		opts.Listen = "127.0.0.1:0"
	}
	if opts.Partitions == 0 {
		opts.Partitions = 8
	}
	if opts.Logger == nil {
		opts.Logger = slog.Default()
	}
	if err := opts.Validate(); err != nil {
		return nil, err
	}

	e := &Embedded{}
	if !opts.Memory {
		lock, err := LockDir(opts.Dir)
		if err != nil {
			return nil, err
		}
		e.lock = lock
	}
	if err := e.start(opts); err != nil {
		return nil, errors.Join(err, e.unlock())
	}
	return e, nil
}

// Validate says what of the options is wrong, all of it.
func (o Options) Validate() error {
	var errs []error
	switch {
	case o.Memory && o.Dir != "":
		errs = append(errs, errors.New("embedded broker: both Memory and Dir are set: set one of them"))
	case !o.Memory && o.Dir == "":
		errs = append(errs, errors.New("embedded broker: no data directory: set --data-dir"))
	}
	if o.Partitions < 0 {
		errs = append(errs, fmt.Errorf("embedded broker: %d partitions: use 1 or more", o.Partitions))
	}
	host, port, err := net.SplitHostPort(o.Listen)
	if err != nil {
		return errors.Join(append(errs, fmt.Errorf("--kafka-listen %q is not host:port, like 127.0.0.1:9092", o.Listen))...)
	}
	if n, err := strconv.Atoi(port); err != nil || n < 0 || n > 65535 {
		errs = append(errs, fmt.Errorf("--kafka-listen %q: the port must be 0 to 65535", o.Listen))
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		errs = append(errs, fmt.Errorf("--kafka-listen %q stands for every interface, but Kafka clients must be told one address: name it, like 127.0.0.1:%s", o.Listen, port))
	}
	return errors.Join(errs...)
}

func (e *Embedded) start(opts Options) error {
	ln, err := net.Listen("tcp", opts.Listen)
	if errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("%s is in use by another program: stop that one, or choose another address with --kafka-listen", opts.Listen)
	}
	if err != nil {
		return fmt.Errorf("the embedded broker cannot listen: choose another address with --kafka-listen: %w", err)
	}
	e.addr = ln.Addr().String()
	syncWrites := !opts.Memory && !opts.NoSync
	group := newGroupSync(func() error { return nil }) // kfake's own syncs say nothing when they fail
	group.die = opts.Die
	e.group = group
	if syncWrites && syncfs != nil {
		dir, err := os.Open(opts.Dir)
		if err != nil {
			return errors.Join(err, ln.Close())
		}
		e.dir = dir
		group.sync = func() error { return syncfs(dir) }
		syncWrites = false
	}
	if !opts.Memory {
		ln = syncedListener{ln, group, &e.inner}
	}

	// A request that names two topics by ids which it does not know, as they were deleted, makes kfake panic.
	byName := kversion.Stable()
	byName.SetMaxKeyVersion(kmsg.Produce.Int16(), 12)

	kopts := []kfake.Opt{
		kfake.MaxVersions(byName),
		kfake.NumBrokers(1),
		kfake.ClusterID("baedal"),
		kfake.DefaultNumPartitions(opts.Partitions),
		kfake.ListenFn(func(_, _ string) (net.Listener, error) { return ln, nil }),
		kfake.WithLogger(warnings{opts.Logger, group.fail}),
		kfake.BrokerConfigs(map[string]string{
			// A kill during kfake's compaction loses records, and retention would need it.
			"log.cleaner.backoff.ms":     never,
			"log.retention.ms":           "-1",
			"default.replication.factor": "1", // there is one broker
			// What --session-timeout may be at the least; by default a group would ask in vain, for ever.
			"group.min.session.timeout.ms": "1000",
			"offsets.retention.minutes":    strconv.Itoa(100 * 365 * 24 * 60), // a group may rest for weeks and still goes on where it was
		}),
	}
	if !opts.Memory {
		if err := errors.Join(cutTorn(opts.Dir), restoreSequences(opts.Dir)); err != nil {
			return errors.Join(fmt.Errorf("the embedded broker cannot start from %s: %w", opts.Dir, err), ignoreClosed(ln.Close()))
		}
		kopts = append(kopts, kfake.DataDir(opts.Dir))
		if syncWrites {
			kopts = append(kopts, kfake.SyncWrites())
		}
	}
	e.cluster, err = kfake.NewCluster(kopts...)
	if err != nil {
		return errors.Join(fmt.Errorf("the embedded broker cannot start from %s: %w", opts.Dir, err), ignoreClosed(ln.Close()))
	}
	return nil
}

// Dial connects this process to its own broker: what it produces through such a connection is acknowledged before it is synced,
// what it commits is not. It is for producers whose input is only committed afterwards.
func (e *Embedded) Dial(ctx context.Context, network, addr string) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, network, addr)
	if err == nil {
		e.inner.Store(conn.LocalAddr().String(), nil)
		conn = innerConn{conn, &e.inner}
	}
	return conn, err
}

// innerConn forgets its address once it is closed: another program may get it next.
type innerConn struct {
	net.Conn
	inner *sync.Map
}

func (c innerConn) Close() error {
	c.inner.Delete(c.LocalAddr().String())
	return c.Conn.Close()
}

// Addr returns the host:port for clients.
func (e *Embedded) Addr() string { return e.addr }

// Close stops the broker, leaves everything on disk and frees the directory. It may be called more than once.
func (e *Embedded) Close() error {
	e.closing.Do(func() {
		e.group.quit()
		e.cluster.Close()
		e.err = errors.Join(e.group.broken(), e.unlock())
	})
	return e.err
}

func (e *Embedded) unlock() error {
	var errs []error
	if e.dir != nil {
		errs = append(errs, e.dir.Close())
	}
	if e.lock != nil {
		errs = append(errs, e.lock.Unlock())
	}
	return errors.Join(errs...)
}

func ignoreClosed(err error) error {
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// Lock is the right to use a directory. It ends with the process, however that ends.
type Lock struct{ file *flock.Flock }

// dying is how long a process that was killed may still hold its lock.
const dying = time.Second

// LockDir takes the directory, which it makes when missing, for this process, or says within a second that another one has it.
func LockDir(dir string) (*Lock, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("data directory %s cannot be made: choose another --data-dir: %w", dir, err)
	}
	lock := flock.New(filepath.Join(dir, "LOCK"))
	ctx, cancel := context.WithTimeout(context.Background(), dying)
	defer cancel()
	locked, err := lock.TryLockContext(ctx, 20*time.Millisecond)
	if err != nil && ctx.Err() == nil {
		return nil, fmt.Errorf("data directory %s cannot be locked: choose another --data-dir: %w", dir, err)
	}
	if !locked {
		return nil, fmt.Errorf("data directory %s is in use by another baedal: stop it or choose another --data-dir", dir)
	}
	return &Lock{lock}, nil
}

// Unlock gives the directory back. The lock's file stays: removing it would let two others lock two different files.
func (l *Lock) Unlock() error { return l.file.Unlock() }

// warnings is kfake's logger: what does not matter to an operator is dropped. It is also told here, and only here, when a write
// failed; kfake goes on then with what it has in memory.
type warnings struct {
	log    *slog.Logger
	failed func(error)
}

func (w warnings) Logf(level kfake.LogLevel, format string, args ...any) {
	var to slog.Level
	switch level {
	case kfake.LogLevelError:
		to = slog.LevelError
	case kfake.LogLevelWarn:
		to = slog.LevelWarn
	default:
		return
	}
	w.log.Log(context.Background(), to, "embedded broker: "+fmt.Sprintf(format, args...))
	if strings.HasPrefix(format, "persist ") && len(args) > 0 {
		if err, ok := args[len(args)-1].(error); ok {
			w.failed(err)
		}
	}
}
