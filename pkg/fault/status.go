package fault

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// domain marks a status that a room made: its sentence was written for callers. The
// transport's own statuses lack it, and their text names sockets and addresses.
const domain = "agentcloud"

// Status is err as it travels: code and safe sentence, never the cause.
func Status(err error) *status.Status {
	if err == nil {
		return status.New(codes.OK, "")
	}
	kind := KindOf(err)
	st := status.New(kind.Code(), Message(err))
	marked, detailErr := st.WithDetails(&errdetails.ErrorInfo{Domain: domain, Reason: kind.String()})
	if detailErr != nil {
		return st // the code alone still says the kind
	}
	return marked
}

// FromStatus turns what came over the wire back into a fault. A nil error stays nil.
func FromStatus(err error) error {
	if err == nil {
		return nil
	}
	st, ok := status.FromError(err)
	if !ok {
		return err
	}
	kind := kindOfCode(st.Code())
	if fromRoom(st) {
		return &fault{kind: kind, message: st.Message(), cause: contextCause(kind), remote: true}
	}
	if kind == Exhausted && strings.Contains(st.Message(), "larger than max") {
		kind = TooLarge // the library's word for a message over the size limit
	}
	return &fault{kind: kind, message: kind.away(), cause: errors.Join(contextCause(kind), err)}
}

func fromRoom(st *status.Status) bool {
	for _, detail := range st.Details() {
		if info, ok := detail.(*errdetails.ErrorInfo); ok && info.GetDomain() == domain {
			return true
		}
	}
	return false
}

// contextCause lets errors.Is(err, context.Canceled) hold for a call as it does here.
func contextCause(kind Kind) error {
	switch kind {
	case Canceled:
		return context.Canceled
	case Deadline:
		return context.DeadlineExceeded
	default:
		return nil
	}
}

// Refer gives an internal error a reference that both the caller and the log can
// quote. Errors of other kinds, and those a neighbour has referred to, stay as they
// are and have no new reference.
func Refer(err error) (referred error, ref string) { //nolint:staticcheck // the error is what is asked for, not how it went
	if !Internal.Is(err) {
		return err, ""
	}
	var f *fault
	sentence := plainSentence
	if errors.As(err, &f) {
		if f.remote {
			return err, ""
		}
		sentence = f.message
	}
	ref = rand.Text()[:10]
	return &fault{kind: Internal, message: fmt.Sprintf("%s (ref %s)", sentence, ref), cause: err, remote: true}, ref
}
