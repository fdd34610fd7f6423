package namespaces

import (
	"context"
	"errors"

	"go.temporal.io/api/serviceerror"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
)

// Fault gives an error of Temporal a kind and a sentence for the caller. A fault
// stays what it is.
func Fault(err error, sentence string) error {
	if err == nil {
		return nil
	}
	if kind := fault.KindOf(err); kind != fault.Internal && kind != fault.Deadline && kind != fault.Canceled {
		return err
	}
	switch Code(err) {
	case codes.Unavailable, codes.DeadlineExceeded, codes.Canceled, codes.Aborted:
		return fault.Unavailable.Wrap(err, "%s; try again in a moment", sentence)
	case codes.ResourceExhausted:
		return fault.Exhausted.Wrap(err, "Temporal has too much to do; try again in a moment")
	case codes.InvalidArgument:
		return fault.Invalid.Wrap(err, "%s", messageOf(err))
	case codes.NotFound:
		return fault.NotFound.Wrap(err, "no such run")
	}
	return err
}

// Code is the gRPC code of an error of Temporal, deadlines and cancels of ctx included.
func Code(err error) codes.Code {
	var service serviceerror.ServiceError
	switch {
	case errors.As(err, &service):
		return service.Status().Code()
	case errors.Is(err, context.DeadlineExceeded):
		return codes.DeadlineExceeded
	case errors.Is(err, context.Canceled):
		return codes.Canceled
	}
	return status.Code(err)
}

// IsNotFound says whether Temporal knows no such run.
func IsNotFound(err error) bool {
	var notFound *serviceerror.NotFound
	return errors.As(err, &notFound)
}

// IsNoNamespace says whether Temporal knows no such namespace.
func IsNoNamespace(err error) bool {
	var missing *serviceerror.NamespaceNotFound
	return errors.As(err, &missing)
}

func messageOf(err error) string {
	var service serviceerror.ServiceError
	if errors.As(err, &service) {
		return service.Error()
	}
	return "Temporal refused the request"
}
