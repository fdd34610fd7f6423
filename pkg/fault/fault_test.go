package fault_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
)

func TestKindsSurviveTheWire(t *testing.T) {
	t.Parallel()
	for kind := fault.Invalid; kind <= fault.Internal; kind++ {
		err := fmt.Errorf("outer: %w", kind.Wrap(io.EOF, "a sentence"))
		back := fault.FromStatus(fault.Status(err).Err())
		if !kind.Is(err) || !kind.Is(back) || fault.Message(back) != "a sentence" {
			t.Errorf("kind %d came back as %d %q", kind, fault.KindOf(back), fault.Message(back))
		}
		if strings.Contains(back.Error(), "EOF") {
			t.Errorf("kind %d leaked its cause: %v", kind, back)
		}
	}
}

func TestKindOf(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		err     error
		kind    fault.Kind
		message string
	}{
		"nothing":            {nil, fault.None, ""},
		"plain error":        {errors.New("secret path /x"), fault.Internal, "internal error"},
		"canceled":           {fmt.Errorf("x: %w", context.Canceled), fault.Canceled, "the call was canceled"},
		"deadline":           {context.DeadlineExceeded, fault.Deadline, "the call took too long"},
		"neighbour's status": {status.Error(codes.NotFound, "no such app"), fault.NotFound, "no such app"},
	}
	for name, tt := range tests {
		if got := fault.KindOf(tt.err); got != tt.kind {
			t.Errorf("%s: KindOf() = %d, want %d", name, got, tt.kind)
		}
		if tt.err == nil {
			continue
		}
		if got := fault.Message(tt.err); got != tt.message {
			t.Errorf("%s: Message() = %q, want %q", name, got, tt.message)
		}
	}
}
