package logs

import (
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	telemetryv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/telemetry/v1"
)

const (
	// keepAlive is how often a quiet stream gives a sign of life.
	keepAlive = 10 * time.Second
	// Bounds of one message to a reader.
	sendLines = 500
	sendBytes = 1 << 20
)

var errStopping = fault.Unavailable.Errorf("telemetry is stopping; follow again in a moment")

// reader is what waits for one reader: what comes while it is full is lost to this
// reader, and counted.
type reader struct {
	org  string
	wake chan struct{}
	over chan struct{}

	mu      sync.Mutex
	waiting []*telemetryv1.LogEntry
	bytes   int
	dropped int64
}

// take adds entries; it never waits.
func (r *reader) take(entries []*telemetryv1.LogEntry, missed int64) {
	r.mu.Lock()
	r.dropped += missed
	for _, e := range entries {
		size := proto.Size(e)
		if len(r.waiting) >= readerLines || r.bytes+size > readerBytes {
			r.dropped++
			continue
		}
		r.waiting = append(r.waiting, e)
		r.bytes += size
	}
	r.mu.Unlock()
	select {
	case r.wake <- struct{}{}:
	default: // it will look anyway
	}
}

// give returns the next message, and whether more waits.
func (r *reader) give() (res *telemetryv1.TailLogsResponse, more bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	res = &telemetryv1.TailLogsResponse{Dropped: r.dropped}
	r.dropped = 0
	size, n := 0, 0
	for n < len(r.waiting) && n < sendLines && (n == 0 || size < sendBytes) {
		size += proto.Size(r.waiting[n])
		n++
	}
	res.Entries = r.waiting[:n:n]
	r.waiting = r.waiting[n:]
	r.bytes -= size
	return res, len(r.waiting) > 0
}

// TailLogs streams lines as they come. Its first message is empty: from then on
// every line reaches the reader or is counted as dropped.
func (s *Service) TailLogs(req *telemetryv1.TailLogsRequest, stream grpc.ServerStreamingServer[telemetryv1.TailLogsResponse]) error {
	ctx := stream.Context()
	org, err := organisation(ctx)
	if err != nil {
		return err
	}
	target, err := checkTarget(req.GetTargetId())
	if err != nil {
		return err
	}
	r, err := s.deps.Live.open(target, org)
	if err != nil {
		return err
	}
	defer s.deps.Live.leave(target, r)
	if err := stream.Send(&telemetryv1.TailLogsResponse{}); err != nil {
		return err
	}
	return r.follow(stream)
}

func (r *reader) follow(stream grpc.ServerStreamingServer[telemetryv1.TailLogsResponse]) error {
	quiet := time.NewTicker(keepAlive)
	defer quiet.Stop()
	for {
		select {
		case <-r.wake:
			for more := true; more; {
				var res *telemetryv1.TailLogsResponse
				if res, more = r.give(); len(res.GetEntries()) == 0 && res.GetDropped() == 0 {
					break
				}
				if err := stream.Send(res); err != nil {
					return err
				}
			}
			quiet.Reset(keepAlive)
		case <-quiet.C:
			if err := stream.Send(&telemetryv1.TailLogsResponse{}); err != nil {
				return err
			}
		case <-r.over:
			return errStopping
		case <-stream.Context().Done():
			return stream.Context().Err()
		}
	}
}
