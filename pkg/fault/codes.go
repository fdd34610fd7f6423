package fault

import (
	"net/http"

	"google.golang.org/grpc/codes"
)

// table is the whole translation on one screen. The first kind of a code is what
// the code is read back as.
var table = []struct {
	kind Kind
	code codes.Code
	http int
	name string
	// away is what the caller reads when the transport, not a room, says so.
	away string
}{
	{Invalid, codes.InvalidArgument, http.StatusBadRequest, "invalid", "the request cannot be read"},
	{Unauthenticated, codes.Unauthenticated, http.StatusUnauthorized, "unauthenticated", "the call carries no valid credentials"},
	{Denied, codes.PermissionDenied, http.StatusForbidden, "denied", "the call is not allowed"},
	{NotFound, codes.NotFound, http.StatusNotFound, "not found", "there is no such thing"},
	{Exists, codes.AlreadyExists, http.StatusConflict, "exists", "there is one already"},
	{Conflict, codes.FailedPrecondition, http.StatusConflict, "conflict", "this cannot be done now"},
	{Conflict, codes.Aborted, http.StatusConflict, "conflict", "this cannot be done now"},
	{TooLarge, codes.OutOfRange, http.StatusRequestEntityTooLarge, "too large", "the message is too large"},
	{Exhausted, codes.ResourceExhausted, http.StatusTooManyRequests, "exhausted", "too much is asked at once; try again later"},
	{Unavailable, codes.Unavailable, http.StatusServiceUnavailable, "unavailable", "a part of the cloud is away; try again"},
	{Deadline, codes.DeadlineExceeded, http.StatusGatewayTimeout, "deadline", "the call took too long"},
	{Canceled, codes.Canceled, 499, "canceled", "the call was canceled"},
	{Unimplemented, codes.Unimplemented, http.StatusNotImplemented, "unimplemented", "this is not offered"},
	{Internal, codes.Internal, http.StatusInternalServerError, "internal", plainSentence},
}

// plainSentence is all that the outside reads of an error nobody made for it.
const plainSentence = "internal error"

// Code is the gRPC code of the kind.
func (k Kind) Code() codes.Code {
	for _, row := range table {
		if row.kind == k {
			return row.code
		}
	}
	if k == None {
		return codes.OK
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
	if k == None {
		return http.StatusOK
	}
	return http.StatusInternalServerError
}

// String is the kind's name, for logs and tests.
func (k Kind) String() string {
	for _, row := range table {
		if row.kind == k {
			return row.name
		}
	}
	if k == None {
		return "none"
	}
	return "unknown kind"
}

func (k Kind) away() string {
	for _, row := range table {
		if row.kind == k {
			return row.away
		}
	}
	return plainSentence
}

func kindOfCode(code codes.Code) Kind {
	if code == codes.OK {
		return None
	}
	for _, row := range table {
		if row.code == code {
			return row.kind
		}
	}
	return Internal
}
