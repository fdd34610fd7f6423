package fault

import (
	"context"
	"errors"
	"net/http"

	spb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// table is the whole translation on one screen. The first kind of a code is what
// the code is read back as.
var table = []struct {
	kind Kind
	code codes.Code
	http int
}{
	{Invalid, codes.InvalidArgument, http.StatusBadRequest},
	{Unauthenticated, codes.Unauthenticated, http.StatusUnauthorized},
	{Denied, codes.PermissionDenied, http.StatusForbidden},
	{NotFound, codes.NotFound, http.StatusNotFound},
	{Exists, codes.AlreadyExists, http.StatusConflict},
	{Conflict, codes.FailedPrecondition, http.StatusConflict},
	{Conflict, codes.Aborted, http.StatusConflict},
	{TooLarge, codes.OutOfRange, http.StatusRequestEntityTooLarge},
	{Exhausted, codes.ResourceExhausted, http.StatusTooManyRequests},
	{Unavailable, codes.Unavailable, http.StatusServiceUnavailable},
	{Deadline, codes.DeadlineExceeded, http.StatusGatewayTimeout},
	{Canceled, codes.Canceled, 499},
	{Unimplemented, codes.Unimplemented, http.StatusNotImplemented},
	{Internal, codes.Internal, http.StatusInternalServerError},
}

// Code is the gRPC code of the kind.
func (k Kind) Code() codes.Code {
	for _, row := range table {
		if row.kind == k {
			return row.code
		}
	}
	return codes.Internal
}

// HTTPStatus is the HTTP status of the kind (RFC 9110; 499 is the usual number for
// a caller that hung up).
func (k Kind) HTTPStatus() int {
	for _, row := range table {
		if row.kind == k {
			return row.http
		}
	}
	return http.StatusInternalServerError
}

func kindOfCode(code codes.Code) Kind {
	for _, row := range table {
		if row.code == code {
			return row.kind
		}
	}
	return Internal
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

// Status is err as it travels: code and safe sentence, never the cause.
func Status(err error) *status.Status {
	return status.FromProto(&spb.Status{Code: int32(KindOf(err).Code()), Message: Message(err)}) //nolint:gosec // codes are 0 to 16
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
	return &fault{kind: kindOfCode(st.Code()), message: st.Message(), cause: nil}
}
