package rest

import (
	"context"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"github.com/grpc-ecosystem/grpc-gateway/v2/utilities"
	"google.golang.org/protobuf/proto"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/pkg/principal"
	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/auth"
)

const (
	// uploadPart is how much of a file is passed on at once, bytes.
	uploadPart = 64 << 10
	mimeCSV    = "text/csv"
	mimeJSONL  = "application/jsonl"
)

// batches passes files of inputs and results through, which are not JSON messages.
type batches struct {
	who    Authenticator
	client schedulerv1.BatchesServiceClient
}

// routes are more exact than those of the generated handlers, so they win.
func (b *batches) routes(mux *http.ServeMux) {
	mux.HandleFunc("POST "+Prefix+"/v1/apps/{target}/batches", b.as(b.upload))
	mux.HandleFunc("GET "+Prefix+"/v1/batches/{batch}/results", b.as(b.download))
}

// as lets only known callers through.
func (b *batches) as(next func(w http.ResponseWriter, r *http.Request) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		caller, err := b.who.Authenticate(r.Context(), auth.Key(r))
		if err == nil {
			err = next(w, r.WithContext(principal.With(r.Context(), caller)))
		}
		if err != nil {
			WriteFault(w, err)
		}
	}
}

// upload streams a file to the scheduler, which checks and bounds it.
func (b *batches) upload(w http.ResponseWriter, r *http.Request) error {
	start := &schedulerv1.StartBatchRequest{Format: inputFormat(r.Header.Get("Content-Type"))}
	if err := fromQuery(start, r.URL.Query()); err != nil {
		return err
	}
	start.TargetId, start.Inputs = r.PathValue("target"), nil
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	stream, err := b.client.UploadBatch(ctx)
	if err != nil {
		return err
	}
	if err := send(stream, start, r.Body); err != nil {
		return err
	}
	res, err := stream.CloseAndRecv()
	if err != nil {
		return err
	}
	m := newMarshaler()
	raw, err := m.Marshal(res.GetStarted())
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", m.ContentType(nil))
	_, _ = w.Write(raw)
	return nil
}

func send(stream schedulerv1.BatchesService_UploadBatchClient, start *schedulerv1.StartBatchRequest, body io.Reader) error {
	part := &schedulerv1.UploadBatchRequest{Start: start}
	for buffer := make([]byte, uploadPart); ; part = new(schedulerv1.UploadBatchRequest) {
		n, err := io.ReadFull(body, buffer)
		ended := errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
		if err != nil && !ended {
			return fault.Invalid.Wrap(err, "the upload ended early; nothing was started")
		}
		part.Inputs = buffer[:n]
		if err := stream.Send(part); err != nil || ended {
			return onlyReal(err)
		}
	}
}

// onlyReal leaves the error of a stream that the other side has ended to who receives.
func onlyReal(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

func inputFormat(contentType string) schedulerv1.InputFormat {
	if media, _, err := mime.ParseMediaType(contentType); err == nil && media == mimeCSV {
		return schedulerv1.InputFormat_INPUT_FORMAT_CSV
	}
	return schedulerv1.InputFormat_INPUT_FORMAT_JSON_LINES
}

// download streams what the scheduler writes.
func (b *batches) download(w http.ResponseWriter, r *http.Request) error {
	req := &schedulerv1.DownloadBatchResultsRequest{}
	if err := fromQuery(req, r.URL.Query()); err != nil {
		return err
	}
	if req.BatchId = r.PathValue("batch"); req.GetFormat() == 0 && strings.Contains(r.Header.Get("Accept"), mimeCSV) {
		req.Format = schedulerv1.ResultFormat_RESULT_FORMAT_CSV
	}
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	stream, err := b.client.DownloadBatchResults(ctx, req)
	if err != nil {
		return err
	}
	part, err := stream.Recv()
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	kind, ending := mimeJSONL, "jsonl"
	if req.GetFormat() == schedulerv1.ResultFormat_RESULT_FORMAT_CSV {
		kind, ending = mimeCSV, "csv"
	}
	w.Header().Set("Content-Type", kind)
	w.Header().Set("Content-Disposition", mime.FormatMediaType("attachment", map[string]string{"filename": req.GetBatchId() + "." + ending}))
	for ; err == nil; part, err = stream.Recv() {
		if _, failed := w.Write(part.GetText()); failed != nil {
			return nil //nolint:nilerr // the reader is gone
		}
	}
	if !errors.Is(err, io.EOF) {
		panic(http.ErrAbortHandler) // half a file must not look whole
	}
	return nil
}

// fromQuery reads a message's fields from a query, as the generated handlers do.
func fromQuery(into proto.Message, query url.Values) error {
	if err := runtime.PopulateQueryParameters(into, query, utilities.NewDoubleArray(nil)); err != nil {
		return fault.Invalid.Wrap(err, "the query is not what this call takes; see %s/openapi.json", Prefix)
	}
	return nil
}
