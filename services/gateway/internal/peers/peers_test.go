package peers_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/pkg/testkit/bustest"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/edgetest"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/peers"
)

// pair is two replicas; the first answers by h.
func pair(t *testing.T, h peers.Handler) (one, other *peers.Peers, stop func()) {
	t.Helper()
	server := bustest.Start(t)
	one, other = peers.New(server.Bus(t).Conn()), peers.New(server.Bus(t).Conn())
	one.Handle("work", h)
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- one.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Errorf("Run = %v", err)
		}
	})
	return one, other, stop
}

func silent([]byte) {}

func TestAnAnswerComesInParts(t *testing.T) {
	t.Parallel()
	one, other, _ := pair(t, func(_ context.Context, body []byte, say func([]byte)) []byte {
		for _, word := range strings.Fields(string(body)) {
			say([]byte(word))
		}
		return []byte("end")
	})
	var said []string
	var last []byte
	edgetest.Until(t, "the replica listens", func() bool {
		var err error
		said = nil
		last, err = other.Ask(t.Context(), one.Name(), "work", []byte("a b c"), func(part []byte) { said = append(said, string(part)) })
		return err == nil
	})
	if strings.Join(said, " ") != "a b c" || string(last) != "end" {
		t.Errorf("the answer is %q and %q", said, last)
	}
}

func TestAReplicaThatIsNotThere(t *testing.T) {
	t.Parallel()
	_, other, _ := pair(t, func(context.Context, []byte, func([]byte)) []byte { return nil })
	for _, name := range []string{"", "NOBODY", ">", "*", "a.b", "A B", strings.Repeat("A", 1000)} {
		if _, err := other.Ask(t.Context(), name, "work", nil, silent); !errors.Is(err, peers.ErrAway) {
			t.Errorf("asking %q = %v", name, err)
		}
	}
}

func TestWhoWaitsNoMoreIsNoticed(t *testing.T) {
	t.Parallel()
	begun, ended := make(chan struct{}, 100), make(chan struct{}, 100)
	one, other, _ := pair(t, func(ctx context.Context, _ []byte, _ func([]byte)) []byte {
		begun <- struct{}{}
		<-ctx.Done()
		ended <- struct{}{}
		return nil
	})
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-begun
		cancel()
	}()
	edgetest.Until(t, "the request is begun", func() bool {
		_, err := other.Ask(ctx, one.Name(), "work", nil, silent)
		return errors.Is(err, context.Canceled)
	})
	<-ended
}

func TestABodyThatIsTooLarge(t *testing.T) {
	t.Parallel()
	one, other, _ := pair(t, func(context.Context, []byte, func([]byte)) []byte { return nil })
	if _, err := other.Ask(t.Context(), one.Name(), "work", make([]byte, other.Room()+1), silent); !fault.TooLarge.Is(err) {
		t.Errorf("Ask = %v", err)
	}
}

func TestAnAnswerThatIsTooLarge(t *testing.T) {
	t.Parallel()
	one, other, _ := pair(t, func(context.Context, []byte, func([]byte)) []byte { return make([]byte, 9<<20) })
	edgetest.Until(t, "the replica listens", func() bool {
		_, err := other.Ask(t.Context(), one.Name(), "work", nil, silent)
		return fault.TooLarge.Is(err)
	})
}
