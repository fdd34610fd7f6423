package batches

import (
	"bufio"
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/runs"
)

const (
	// sourceWait is how long the run is waited for whose result has the inputs.
	sourceWait = 60 * time.Second
	maxLine    = 16 << 20
	firstLine  = 64 << 10
)

// input is one input before it is checked.
type input struct {
	line int64
	// arguments is a JSON object.
	arguments string
	// err is why it cannot be one.
	err error
}

// source gives inputs until io.EOF. Errors of single inputs are in these.
type source interface {
	next() (input, error)
}

// source chooses how the inputs of a request are read.
func (s *Service) source(ctx context.Context, req *schedulerv1.StartBatchRequest, check *runs.Inputs, text io.Reader) (source, error) {
	bounded := &boundedReader{from: text, left: s.deps.Bounds.Bytes, most: s.deps.Bounds.Bytes}
	switch {
	case req.GetSourceRunId() != "":
		return s.fromRun(ctx, req, check)
	case req.GetFormat() == schedulerv1.InputFormat_INPUT_FORMAT_CSV:
		return newRows(bounded, check)
	case req.GetFormat() == schedulerv1.InputFormat_INPUT_FORMAT_JSON_LINES, req.GetFormat() == schedulerv1.InputFormat_INPUT_FORMAT_UNSPECIFIED:
		lines := bufio.NewScanner(bounded)
		lines.Buffer(make([]byte, 0, firstLine), maxLine)
		return &jsonLines{lines: lines, check: check}, nil
	}
	return nil, fault.Invalid.Errorf("there is no input format %d; use JSON Lines or CSV", req.GetFormat())
}

// boundedReader fails with fault.TooLarge when there is more than most.
type boundedReader struct {
	from       io.Reader
	left, most int64
}

func (b *boundedReader) Read(into []byte) (int, error) {
	n, err := b.from.Read(into)
	if b.left -= int64(n); b.left < 0 {
		return 0, fault.TooLarge.Errorf("the inputs of a batch may have at most %d MiB; make several batches", b.most>>20)
	}
	return n, err
}

// jsonLines reads an input a line; empty lines are none.
type jsonLines struct {
	lines *bufio.Scanner
	check *runs.Inputs
	line  int64
}

func (j *jsonLines) next() (input, error) {
	for j.lines.Scan() {
		j.line++
		text := j.lines.Bytes()
		if j.line == 1 {
			text = bytes.TrimPrefix(text, []byte("\xef\xbb\xbf")) // some editors begin files with it
		}
		if text = bytes.TrimSpace(text); len(text) > 0 {
			return element(j.line, text, j.check), nil
		}
	}
	err := j.lines.Err()
	switch {
	case err == nil:
		return input{}, io.EOF
	case errors.Is(err, bufio.ErrTooLong):
		return input{}, fault.TooLarge.Wrap(err, "line %d has more than %d MiB", j.line+1, maxLine>>20)
	}
	return input{}, err
}

// element is an object of arguments, or the value of the only parameter.
func element(line int64, text json.RawMessage, check *runs.Inputs) input {
	if !json.Valid(text) {
		return input{line: line, err: fault.Invalid.Errorf("this is no JSON")}
	}
	if text[0] == '{' {
		return input{line: line, arguments: string(text)}
	}
	only, ok := check.Only()
	if !ok {
		return input{line: line, err: fault.Invalid.Errorf("write a JSON object with a member for each parameter")}
	}
	name, _ := json.Marshal(only) // a string always encodes
	return input{line: line, arguments: "{" + string(name) + ":" + string(text) + "}"}
}

// rows reads an input a row of CSV (RFC 4180).
type rows struct {
	reader *csv.Reader
	check  *runs.Inputs
	names  []string
}

func newRows(text io.Reader, check *runs.Inputs) (*rows, error) {
	r := &rows{reader: csv.NewReader(text), check: check}
	header, err := r.reader.Read()
	if errors.Is(err, io.EOF) {
		return nil, fault.Invalid.Errorf("the CSV is empty; begin it with the names of the parameters")
	}
	if err != nil {
		return nil, r.broken(err)
	}
	for i, name := range header {
		if i == 0 {
			name = strings.TrimPrefix(name, "\ufeff")
		}
		name = strings.TrimSpace(name)
		if !check.Has(name) || slices.Contains(r.names, name) {
			return nil, fault.Invalid.Errorf("column %d of the CSV is called %q; each column needs the name of a parameter, once: %s", i+1, name, check.Names())
		}
		r.names = append(r.names, name)
	}
	return r, nil
}

func (r *rows) broken(err error) error {
	var syntax *csv.ParseError
	if errors.As(err, &syntax) {
		return fault.Invalid.Wrap(err, "line %d of the CSV cannot be read: %v", syntax.Line, syntax.Err)
	}
	return err
}

func (r *rows) next() (input, error) {
	row, err := r.reader.Read()
	var syntax *csv.ParseError
	if errors.As(err, &syntax) {
		return input{line: int64(syntax.StartLine), err: fault.Invalid.Errorf("this row cannot be read: %v", syntax.Err)}, nil
	}
	if err != nil {
		return input{}, err
	}
	arguments := map[string]json.RawMessage{}
	for i, cell := range row {
		if cell != "" {
			arguments[r.names[i]] = r.value(r.names[i], cell)
		}
	}
	text, err := json.Marshal(arguments)
	line, _ := r.reader.FieldPos(0)
	return input{line: int64(line), arguments: string(text)}, err
}

// value is a cell as JSON: text where the parameter takes text, else what it reads as.
func (r *rows) value(name, cell string) json.RawMessage {
	if !r.check.Text(name) && json.Valid([]byte(cell)) {
		return json.RawMessage(cell)
	}
	text, _ := json.Marshal(cell) // a string always encodes
	return text
}

// list reads the elements of a run's result.
type list struct {
	elements []json.RawMessage
	check    *runs.Inputs
	at       int
}

func (l *list) next() (input, error) {
	if l.at == len(l.elements) {
		return input{}, io.EOF
	}
	l.at++
	return element(int64(l.at), l.elements[l.at-1], l.check), nil
}

func (s *Service) fromRun(ctx context.Context, req *schedulerv1.StartBatchRequest, check *runs.Inputs) (source, error) {
	res, err := s.deps.Runs.GetRun(ctx, &schedulerv1.GetRunRequest{TargetId: req.GetTargetId(), RunId: req.GetSourceRunId(), Wait: durationpb.New(sourceWait)})
	if err != nil {
		return nil, err
	}
	switch res.GetRun().GetStatus() {
	case schedulerv1.RunStatus_RUN_STATUS_COMPLETED:
	case schedulerv1.RunStatus_RUN_STATUS_RUNNING, schedulerv1.RunStatus_RUN_STATUS_PAUSED:
		return nil, fault.Conflict.Errorf("the run %s has not ended yet", req.GetSourceRunId())
	default:
		return nil, fault.Invalid.Errorf("the run %s has no result: %s", req.GetSourceRunId(), res.GetRun().GetErrorMessage())
	}
	l := &list{check: check}
	if err := json.Unmarshal([]byte(value(res.GetRun().GetResultJson())), &l.elements); err != nil {
		return nil, fault.Invalid.Wrap(err, "the result of run %s is no list", req.GetSourceRunId())
	}
	return l, nil
}

// value is what a workflow returned, without the envelope of the agents' SDK.
func value(resultJSON string) string {
	var wrapped struct {
		Kind  string          `json:"kind"`
		Value json.RawMessage `json:"value"`
	}
	if json.Unmarshal([]byte(resultJSON), &wrapped) == nil && wrapped.Kind == "workflow_result" && wrapped.Value != nil {
		return string(wrapped.Value)
	}
	return resultJSON
}

func itoa(n int64) string { return strconv.FormatInt(n, 10) }
