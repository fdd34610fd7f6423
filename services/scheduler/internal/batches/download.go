package batches

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/store"
)

// sendBytes is about how much is sent at once.
const sendBytes = 64 << 10

// DownloadBatchResults gives what has ended so far, in the order of the inputs, and
// holds a page of it at a time.
func (s *Service) DownloadBatchResults(req *schedulerv1.DownloadBatchResultsRequest, stream schedulerv1.BatchesService_DownloadBatchResultsServer) error {
	ctx := stream.Context()
	b, err := s.batch(ctx, req.GetBatchId())
	if err != nil {
		return err
	}
	states, err := wanted(req.GetState())
	if err != nil {
		return err
	}
	if states == nil {
		states = []store.ItemState{store.ItemCompleted, store.ItemFailed, store.ItemCancelled}
	}
	d := &download{Service: s, batch: b, send: stream.Send}
	write := d.jsonLine
	switch req.GetFormat() {
	case schedulerv1.ResultFormat_RESULT_FORMAT_UNSPECIFIED, schedulerv1.ResultFormat_RESULT_FORMAT_JSON_LINES:
	case schedulerv1.ResultFormat_RESULT_FORMAT_CSV:
		d.csv = csv.NewWriter(&d.text)
		write = d.csvRow
		_ = d.csv.Write([]string{"index", "state", "input", "result", "error_type", "error_message", "workflow_id", "run_id"}) // goes to memory
	default:
		return fault.Invalid.Errorf("there is no result format %d; use JSON Lines or CSV", req.GetFormat())
	}
	return d.all(ctx, states, write)
}

type download struct {
	*Service
	batch store.Batch
	send  func(*schedulerv1.DownloadBatchResultsResponse) error
	text  bytes.Buffer
	csv   *csv.Writer
}

func (d *download) all(ctx context.Context, states []store.ItemState, write func(line) error) error {
	for first := int64(0); ; {
		items, err := d.deps.Store.Items(ctx, d.batch.ID, first, feedPage, states...)
		if err != nil {
			return err
		}
		if len(items) == 0 {
			return d.flush()
		}
		for _, item := range items {
			if err := write(d.line(ctx, item)); err != nil {
				return err
			}
			if d.text.Len() > sendBytes {
				if err := d.flush(); err != nil {
					return err
				}
			}
		}
		first = items[len(items)-1].Index + 1
	}
}

// line is what is written of an item.
type line struct {
	Index      int64           `json:"index"`
	State      store.ItemState `json:"state"`
	Input      json.RawMessage `json:"input"`
	Result     json.RawMessage `json:"result,omitempty"`
	Error      *lineError      `json:"error,omitempty"`
	WorkflowID string          `json:"workflow_id"`
	RunID      string          `json:"run_id,omitempty"`
}

type lineError struct {
	Type    string `json:"type"`
	Message string `json:"message"`
}

func (d *download) line(ctx context.Context, item store.Item) line {
	l := line{Index: item.Index, State: item.State, Input: json.RawMessage(item.Input), WorkflowID: workflowID(d.batch.Name, item), RunID: item.RunID}
	if item.ErrorType != "" || item.ErrorMessage != "" {
		l.Error = &lineError{item.ErrorType, item.ErrorMessage}
	}
	if item.State != store.ItemCompleted {
		return l
	}
	if item.Result == "" {
		res, err := d.deps.Runs.GetRun(ctx, &schedulerv1.GetRunRequest{TargetId: d.batch.TargetID, WorkflowId: l.WorkflowID, RunId: item.RunID})
		if err != nil || res.GetRun().GetResultJson() == "" {
			l.Error = &lineError{"ResultLost", "the result is too large to be kept with the batch, and its run is not there any more"}
			return l
		}
		item.Result = res.GetRun().GetResultJson()
	}
	l.Result = json.RawMessage(value(item.Result))
	return l
}

func (d *download) jsonLine(l line) error {
	encoder := json.NewEncoder(&d.text)
	encoder.SetEscapeHTML(false)
	return encoder.Encode(l)
}

func (d *download) csvRow(l line) error {
	var failed lineError
	if l.Error != nil {
		failed = *l.Error
	}
	result := string(l.Result)
	var text string
	if json.Unmarshal(l.Result, &text) == nil {
		result = text
	}
	err := d.csv.Write([]string{itoa(l.Index), string(l.State), string(l.Input), result, failed.Type, failed.Message, l.WorkflowID, l.RunID})
	d.csv.Flush()
	return err
}

func (d *download) flush() error {
	if d.csv != nil {
		d.csv.Flush()
	}
	text := d.text.Bytes()
	for len(text) > 0 {
		n := min(len(text), sendBytes)
		if err := d.send(&schedulerv1.DownloadBatchResultsResponse{Text: text[:n]}); err != nil {
			return err
		}
		text = text[n:]
	}
	d.text.Reset()
	return nil
}
