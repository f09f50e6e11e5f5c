package deploy_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var engines = []string{"baedal-1", "baedal-2"}

func MustLoad(t *testing.T) *types.Project {
	t.Helper()
	options, err := cli.NewProjectOptions([]string{"../docker-compose.yml"}, cli.WithName("baedal"))
	require.NoError(t, err)
	project, err := options.LoadProject(t.Context())
	require.NoError(t, err)
	return project
}

func TestCompose_Services(t *testing.T) {
	assert.ElementsMatch(t, append([]string{"kafka"}, engines...), MustLoad(t).ServiceNames())
}

func TestCompose_PortsAreBoundToLoopback(t *testing.T) {
	taken := map[string]string{}
	for name, s := range MustLoad(t).Services {
		require.NotEmpty(t, s.Ports, name)
		for _, p := range s.Ports {
			assert.Equal(t, "127.0.0.1", p.HostIP, "%s %s", name, p.Published)
			assert.Empty(t, taken[p.Published], "%s and %s publish the same port", name, taken[p.Published])
			taken[p.Published] = name
		}
	}
}

func TestCompose_NoVolumeIsShared(t *testing.T) {
	project := MustLoad(t)
	owner := map[string]string{}
	for name, s := range project.Services {
		require.Len(t, s.Volumes, 1, name)
		v := s.Volumes[0]
		assert.Equal(t, types.VolumeTypeVolume, v.Type, name)
		assert.Contains(t, project.Volumes, v.Source, name)
		assert.Empty(t, owner[v.Source], "%s and %s share a volume", name, owner[v.Source])
		owner[v.Source] = name
	}
}

func TestCompose_Engines(t *testing.T) {
	project := MustLoad(t)
	kafka := project.Services["kafka"]
	inside, _, _ := strings.Cut(strings.TrimPrefix(*kafka.Environment["KAFKA_ADVERTISED_LISTENERS"], "INSIDE://"), ",")
	first := project.Services[engines[0]]
	for _, name := range engines {
		t.Run(name, func(t *testing.T) {
			s := project.Services[name]
			assert.Equal(t, types.ShellCommand{"up"}, s.Command)
			assert.Equal(t, inside, *s.Environment["BAEDAL_BROKERS"], "the address that Kafka tells its clients")
			assert.Equal(t, first.Environment, s.Environment, "the same prefix, groups and partitions, or they would not share the work")
			assert.Equal(t, types.ServiceConditionHealthy, s.DependsOn["kafka"].Condition)
			assert.Equal(t, s.Volumes[0].Target, *s.Environment["BAEDAL_DATA_DIR"])
			_, port, _ := strings.Cut(*s.Environment["BAEDAL_HTTP"], ":")
			assert.Equal(t, port, fmt.Sprint(s.Ports[0].Target))
			assert.Equal(t, types.RestartPolicyUnlessStopped, s.Restart)
			require.NotNil(t, s.StopGracePeriod)
			assert.GreaterOrEqual(t, time.Duration(*s.StopGracePeriod), 30*time.Second)
			_, err := os.Stat(filepath.Join(s.Build.Context, s.Build.Dockerfile))
			assert.NoError(t, err)
		})
	}
}

func TestCompose_Kafka(t *testing.T) {
	kafka := MustLoad(t).Services["kafka"]
	assert.True(t, strings.HasPrefix(kafka.Image, "apache/kafka:4."), kafka.Image)
	require.NotNil(t, kafka.HealthCheck)
	assert.NotEmpty(t, kafka.HealthCheck.Test)
	for key, want := range map[string]string{
		"KAFKA_PROCESS_ROLES":             "broker,controller",
		"KAFKA_AUTO_CREATE_TOPICS_ENABLE": "false",
		// A single node cannot keep the three replicas that these have by default: groups and transactions would never start.
		"KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR":                 "1",
		"KAFKA_TRANSACTION_STATE_LOG_REPLICATION_FACTOR":         "1",
		"KAFKA_TRANSACTION_STATE_LOG_MIN_ISR":                    "1",
		"KAFKA_SHARE_COORDINATOR_STATE_TOPIC_REPLICATION_FACTOR": "1",
		"KAFKA_SHARE_COORDINATOR_STATE_TOPIC_MIN_ISR":            "1",
		"KAFKA_LOG_DIRS": kafka.Volumes[0].Target,
	} {
		if assert.Contains(t, kafka.Environment, key) {
			assert.Equal(t, want, *kafka.Environment[key], key)
		}
	}
	assert.Contains(t, *kafka.Environment["KAFKA_ADVERTISED_LISTENERS"], "HOST://"+kafka.Ports[0].HostIP+":"+kafka.Ports[0].Published)
}

// The image is built by the Go that go.mod asks for, has no root, and no libc to need.
func TestDockerfile(t *testing.T) {
	mod, err := os.ReadFile("../go.mod")
	require.NoError(t, err)
	version := ""
	for line := range strings.Lines(string(mod)) {
		if v, ok := strings.CutPrefix(line, "go "); ok {
			version = strings.Join(strings.Split(strings.TrimSpace(v), ".")[:2], ".")
		}
	}
	dockerfile, err := os.ReadFile("Dockerfile")
	require.NoError(t, err)
	for _, want := range []string{"FROM golang:" + version + " AS build", "CGO_ENABLED=0", "USER nonroot", "VOLUME /data", `ENTRYPOINT ["/baedal"]`} {
		assert.Contains(t, string(dockerfile), want)
	}
}
