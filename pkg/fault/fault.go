// Package fault is the vocabulary of errors: a few kinds that survive the wire, and
// a sentence for the caller apart from the cause, which only the log sees.
//
// It logs nothing and knows no service's rules.
package fault

import (
	"context"
	"errors"
	"fmt"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Kind says what sort of thing went wrong. The zero Kind means nothing did.
type Kind int

// The kinds, each with one gRPC code and one HTTP status.
const (
	None Kind = iota
	// Invalid input; the same call will fail again.
	Invalid
	// Unauthenticated: nobody knows who calls.
	Unauthenticated
	// Denied: the caller may not.
	Denied
	// NotFound: there is no such thing, or none the caller may know of.
	NotFound
	// Exists: there is one already.
	Exists
	// Conflict with what is going on; may work later.
	Conflict
	// TooLarge: over a bound of size or number.
	TooLarge
	// Exhausted: over a rate or a quota.
	Exhausted
	// Unavailable: a part is away; try again.
	Unavailable
	// Deadline: it took too long.
	Deadline
	// Canceled by the caller.
	Canceled
	// Unimplemented: not offered.
	Unimplemented
	// Internal: our mistake; the caller reads a reference only.
	Internal
)

type fault struct {
	kind    Kind
	message string
	cause   error
	remote  bool // it has been logged where it arose
}

// Errorf returns an error of this kind; the caller reads the sentence.
func (k Kind) Errorf(format string, args ...any) error {
	return &fault{kind: k, message: fmt.Sprintf(format, args...)}
}

// Wrap returns an error of this kind: the caller reads the sentence, the log has the cause.
func (k Kind) Wrap(cause error, format string, args ...any) error {
	return &fault{kind: k, message: fmt.Sprintf(format, args...), cause: cause}
}

// Is says whether err is of this kind, from here or from a neighbour.
func (k Kind) Is(err error) bool { return err != nil && KindOf(err) == k }

// Error is for logs: the sentence and its cause.
func (f *fault) Error() string {
	if f.cause == nil {
		return f.message
	}
	return f.message + ": " + f.cause.Error()
}

// Unwrap gives the cause to errors.Is and errors.As.
func (f *fault) Unwrap() error { return f.cause }

// GRPCStatus lets status.FromError read a fault.
func (f *fault) GRPCStatus() *status.Status { return Status(f) }

// KindOf tells the kind of err: of the outermost fault or status in its chain,
// Canceled and Deadline for the context's errors, Internal for any other.
func KindOf(err error) Kind {
	if err == nil {
		return None
	}
	var f *fault
	if errors.As(err, &f) {
		return f.kind
	}
	if kind := ofContext(err); kind != None {
		return kind
	}
	if st, ok := status.FromError(err); ok {
		return kindOfCode(st.Code())
	}
	return Internal
}

// Message is what may leave the process: the fault's sentence, or "internal error".
func Message(err error) string {
	if err == nil {
		return ""
	}
	var f *fault
	if errors.As(err, &f) {
		return f.message
	}
	if kind := ofContext(err); kind != None {
		return kind.away()
	}
	if st := own(err); st != nil {
		return st.Message()
	}
	return plainSentence
}

// own returns a status whose text somebody wrote for callers. A status that was
// wrapped with more words gets those words from the grpc library; the status inside
// has none of them.
func own(err error) *status.Status {
	var s interface{ GRPCStatus() *status.Status }
	if !errors.As(err, &s) {
		return nil
	}
	st := s.GRPCStatus()
	if st.Code() == codes.Unknown || st.Code() == codes.OK {
		return nil
	}
	return st
}

func ofContext(err error) Kind {
	switch {
	case errors.Is(err, context.Canceled):
		return Canceled
	case errors.Is(err, context.DeadlineExceeded):
		return Deadline
	}
	return None
}
