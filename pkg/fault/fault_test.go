package fault_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
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
			t.Errorf("kind %v came back as %v %q", kind, fault.KindOf(back), fault.Message(back))
		}
		if strings.Contains(back.Error(), "EOF") {
			t.Errorf("kind %v leaked its cause: %v", kind, back)
		}
		if !errors.Is(err, io.EOF) {
			t.Errorf("kind %v hides its cause from errors.Is", kind)
		}
	}
}

func TestKindOfAndMessage(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		err     error
		kind    fault.Kind
		message string
	}{
		"nothing":                 {nil, fault.None, ""},
		"plain error":             {errors.New("secret path /x"), fault.Internal, "internal error"},
		"canceled":                {fmt.Errorf("x: %w", context.Canceled), fault.Canceled, "the call was canceled"},
		"deadline":                {context.DeadlineExceeded, fault.Deadline, "the call took too long"},
		"a status":                {status.Error(codes.NotFound, "no such app"), fault.NotFound, "no such app"},
		"a wrapped status":        {fmt.Errorf("read /x: %w", status.Error(codes.NotFound, "no such app")), fault.NotFound, "no such app"},
		"an unknown status":       {status.Error(codes.Unknown, "secret path"), fault.Internal, "internal error"},
		"the outermost fault":     {fault.Denied.Wrap(fault.NotFound.Errorf("inner"), "outer"), fault.Denied, "outer"},
		"a fault over a deadline": {fault.Unavailable.Wrap(context.DeadlineExceeded, "the builder is away"), fault.Unavailable, "the builder is away"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := fault.KindOf(tt.err); got != tt.kind {
				t.Errorf("KindOf(%v) = %v, want %v", tt.err, got, tt.kind)
			}
			if got := fault.Message(tt.err); got != tt.message {
				t.Errorf("Message(%v) = %q, want %q", tt.err, got, tt.message)
			}
		})
	}
}

func TestFromStatusHidesTheTransportsWords(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		code    codes.Code
		text    string
		kind    fault.Kind
		message string
	}{
		"a neighbour is away":   {codes.Unavailable, "dial unix /run/x.sock: refused", fault.Unavailable, "a part of the cloud is away; try again"},
		"a message is too big":  {codes.ResourceExhausted, "grpc: received message larger than max (2 vs. 1)", fault.TooLarge, "the message is too large"},
		"a foreign plain error": {codes.Unknown, "panic at /src/x.go", fault.Internal, "internal error"},
		"data is lost":          {codes.DataLoss, "block 7", fault.Internal, "internal error"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := fault.FromStatus(status.Error(tt.code, tt.text))
			if !tt.kind.Is(err) || fault.Message(err) != tt.message {
				t.Errorf("FromStatus() = %v %q, want %v %q", fault.KindOf(err), fault.Message(err), tt.kind, tt.message)
			}
			if !strings.Contains(err.Error(), tt.text) {
				t.Errorf("the log lacks the transport's words: %v", err)
			}
		})
	}
}

func TestFromStatusKeepsTheContextsErrors(t *testing.T) {
	t.Parallel()
	for _, cause := range []error{context.Canceled, context.DeadlineExceeded} {
		for name, err := range map[string]error{
			"from a room":        fault.Status(cause).Err(),
			"from the transport": status.FromContextError(cause).Err(),
		} {
			if back := fault.FromStatus(err); !errors.Is(back, cause) {
				t.Errorf("%s: FromStatus(%v) = %v, which errors.Is does not know", name, cause, back)
			}
		}
	}
	if plain := io.EOF; !errors.Is(fault.FromStatus(plain), plain) || fault.FromStatus(nil) != nil {
		t.Error("FromStatus changes what is no status")
	}
}

func TestReferIsDoneOnce(t *testing.T) {
	t.Parallel()
	cause := errors.New("disk /dev/x is gone")
	referred, ref := fault.Refer(cause)
	if want := "internal error (ref " + ref + ")"; fault.Message(referred) != want || !errors.Is(referred, cause) {
		t.Fatalf("Refer() = %q, %q, want %q over its cause", fault.Message(referred), ref, want)
	}
	received := fault.FromStatus(fault.Status(referred).Err())
	again, second := fault.Refer(fmt.Errorf("ask the builder: %w", received))
	if second != "" || fault.Message(again) != fault.Message(referred) {
		t.Fatalf("a neighbour's reference became %q (%q)", fault.Message(again), second)
	}
	if same, none := fault.Refer(fault.Denied.Errorf("not yours")); none != "" || fault.Message(same) != "not yours" {
		t.Fatalf("a denial got the reference %q", none)
	}
}

func TestEveryKindHasItsNumbers(t *testing.T) {
	t.Parallel()
	if fault.None.Code() != codes.OK || fault.None.HTTPStatus() != http.StatusOK || fault.Status(nil).Code() != codes.OK {
		t.Error("no error is not OK")
	}
	for kind := fault.Invalid; kind <= fault.Internal; kind++ {
		if kind.Code() == codes.OK || kind.HTTPStatus() < 400 || kind.String() == "unknown kind" {
			t.Errorf("kind %d is %v, %d, %v", kind, kind.Code(), kind.HTTPStatus(), kind)
		}
	}
}
