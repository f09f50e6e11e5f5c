package stream

import (
	"errors"
	"fmt"
	"strings"
	"syscall"

	"github.com/IBM/sarama"
	"github.com/twmb/franz-go/pkg/kerr"
)

// faults are what starting a group again does not heal, and what does.
var faults = []struct {
	err    error
	remedy string
}{
	{sarama.ErrTopicAuthorizationFailed, "allow this client to read and write the topics of the group (kafka-acls.sh)"},
	{kerr.TopicAuthorizationFailed, "allow this client to read and write the topics of the group (kafka-acls.sh)"},
	{sarama.ErrGroupAuthorizationFailed, "allow this client to read as the group (kafka-acls.sh)"},
	{kerr.GroupAuthorizationFailed, "allow this client to read as the group (kafka-acls.sh)"},
	{sarama.ErrClusterAuthorizationFailed, "allow this client to write idempotently (kafka-acls.sh)"},
	{kerr.ClusterAuthorizationFailed, "allow this client to write idempotently (kafka-acls.sh)"},
	{sarama.ErrTransactionalIDAuthorizationFailed, "allow this client its transactional ids (kafka-acls.sh)"},
	{kerr.TransactionalIDAuthorizationFailed, "allow this client its transactional ids (kafka-acls.sh)"},
	{errors.New("all topics need to have the same number of partitions"), "make the topics with one number of partitions"},
	{sarama.ErrFencedInstancedId, "another process runs under this instance's id, as its data directory was copied or restored: stop one of both, and delete instance-id in the copy"},
	{kerr.FencedInstanceID, "another process runs under this instance's id, as its data directory was copied or restored: stop one of both, and delete instance-id in the copy"},
	{syscall.ENOSPC, "make room on the disk of the data directory"},
	{syscall.EROFS, "make the data directory writable"},
}

// Fault is an error that can't heal while the process goes on. Its text says
// what mends it.
type Fault struct {
	Group  string
	Err    error
	Remedy string
}

func (f *Fault) Error() string {
	return fmt.Sprintf("group %s can't go on: %v: %s", f.Group, f.Err, f.Remedy)
}

func (f *Fault) Unwrap() error { return f.Err }

// faultOf returns the fault behind an error, or nil. Goka turns errors into
// text, so the text is looked at, too.
func faultOf(group string, err error) *Fault {
	if err == nil {
		return nil
	}
	for _, f := range faults {
		if errors.Is(err, f.err) || strings.Contains(err.Error(), f.err.Error()) {
			return &Fault{group, err, f.remedy}
		}
	}
	return nil
}
