package rest

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"regexp"
	"strings"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
)

// bounded reads the body of a request whole: that it is too big must be known before
// the library turns the reader's error into a text.
func bounded(w http.ResponseWriter, r *http.Request) error {
	most := int64(maxBody)
	if strings.HasSuffix(r.URL.Path, "/runs") || strings.HasSuffix(r.URL.Path, "/signal") {
		most = maxArguments
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, most))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return fault.TooLarge.Wrap(err, "a request may have at most %d KiB", most>>10)
	case err != nil:
		return fault.Invalid.Wrap(err, "the request ended early")
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	return nil
}

// marshaler writes and reads the JSON of the API.
type marshaler struct{ runtime.JSONPb }

func newMarshaler() *marshaler {
	return &marshaler{runtime.JSONPb{
		// The public command line takes a missing field and refuses some empty ones.
		MarshalOptions:   protojson.MarshalOptions{EmitUnpopulated: false},
		UnmarshalOptions: protojson.UnmarshalOptions{DiscardUnknown: true},
	}}
}

// NewDecoder gives errors that are fit for people. Those of the library quote what
// was sent, which may be a secret, and differ from build to build on purpose.
func (m *marshaler) NewDecoder(r io.Reader) runtime.Decoder {
	decoder := m.JSONPb.NewDecoder(r)
	return runtime.DecoderFunc(func(v any) error {
		err := decoder.Decode(v)
		if err == nil || errors.Is(err, io.EOF) {
			return err // no body is an empty message
		}
		return unreadable(err)
	})
}

var place = regexp.MustCompile(`\(line \d+:\d+\)`)

func unreadable(err error) error {
	const sentence = "the request is no JSON that this call takes"
	if at := place.FindString(err.Error()); at != "" {
		return errors.New(sentence + " " + at + "; see /api/openapi.json")
	}
	return errors.New(sentence + "; see /api/openapi.json")
}
