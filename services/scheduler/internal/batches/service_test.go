package batches_test

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/pkg/principal"
	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
)

func TestEveryInputRunsOnceAndFailuresAreRetried(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.steer()
	f.fails[3], f.fails[5], f.fails[8] = true, true, true
	b := f.start(&schedulerv1.StartBatchRequest{Name: "Double", Inputs: numbers(0, 60), Concurrency: 7})
	if b.GetTotal() != 60 || b.GetState() != schedulerv1.BatchState_BATCH_STATE_RUNNING {
		t.Errorf("StartBatch() = %v", b)
	}
	ended := f.until(b.GetBatchId(), completed)
	if e := ended.GetBatch(); e.GetCompleted() != 57 || e.GetFailed() != 3 || e.GetPending()+e.GetRunning() != 0 || e.GetEndTime() == nil {
		t.Errorf("the batch ended as %v", e)
	}
	if all := ended.GetFailures(); len(all) != 2 || all[0].GetItems() != 2 || all[0].GetErrorType() != "ValueError" || all[0].GetErrorMessage() != "1 is odd luck" {
		t.Errorf("failures = %v, want two reasons, that of 3 and 5 first", all)
	}
	f.checkRows(b.GetBatchId(), 60)

	f.mu.Lock()
	clear(f.fails)
	f.mu.Unlock()
	again, err := f.client.RetryBatch(f.ctx, &schedulerv1.RetryBatchRequest{BatchId: b.GetBatchId()})
	if err != nil || again.GetItems() != 3 || again.GetBatch().GetPending() != 3 || again.GetBatch().GetEndTime() != nil {
		t.Fatalf("RetryBatch() = %v, %v", again, err)
	}
	f.until(b.GetBatchId(), func(b *schedulerv1.Batch) bool { return completed(b) && b.GetCompleted() == 60 })
	f.checkRows(b.GetBatchId(), 60)
	for n := range 60 {
		want := 1
		if n == 3 || n == 5 || n == 8 {
			want = 2
		}
		if f.calls[n] != want {
			t.Errorf("the run of %d began %d times, want %d", n, f.calls[n], want)
		}
	}
	if _, err := f.client.RetryBatch(f.ctx, &schedulerv1.RetryBatchRequest{BatchId: b.GetBatchId()}); !fault.Conflict.Is(err) {
		t.Errorf("RetryBatch() of a batch without failures = %v, want a conflict", err)
	}
	f.wantEvents("scheduler.batch.started", 2)
	f.wantEvents("scheduler.batch.completed", 2)
}

// checkRows checks that every input has exactly one result, in order.
func (f *fixture) checkRows(batchID string, total int) {
	f.t.Helper()
	all := f.rows(batchID)
	if len(all) != total {
		f.t.Fatalf("there are %d results, want %d", len(all), total)
	}
	for i, one := range all {
		if one.Index != i || string(one.Input) != fmt.Sprintf(`{"n":%d}`, i) || one.RunID == "" {
			f.t.Errorf("row %d = %+v", i, one)
		}
		switch one.State {
		case "completed":
			if string(one.Result) != strconv.Itoa(2*i) {
				f.t.Errorf("result %d = %s", i, one.Result)
			}
		case "failed":
			if one.Error.Type != "ValueError" || one.Result != nil {
				f.t.Errorf("failure %d = %+v", i, one)
			}
		}
	}
}

func (f *fixture) wantEvents(subject string, want int) {
	f.t.Helper()
	var got int
	if err := f.db.QueryRow(f.t.Context(), `SELECT COUNT(*) FROM outbox WHERE subject = ?`, subject).Scan(&got); err != nil || got != want {
		f.t.Errorf("there are %d events %s (%v), want %d", got, subject, err, want)
	}
}

func TestInputsAreCheckedFirst(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	const csv, lines = schedulerv1.InputFormat_INPUT_FORMAT_CSV, schedulerv1.InputFormat_INPUT_FORMAT_JSON_LINES
	tests := map[string]struct {
		name   string
		format schedulerv1.InputFormat
		inputs string
		kind   fault.Kind // zero: the batch begins
		want   string     // part of the error, or the inputs
	}{
		"lines":             {"Double", lines, "\xef\xbb\xbf{\"n\":1}\n\n {\"n\": \"2\"} \r\n", 0, `{"n":1}|{"n":2}`},
		"only parameter":    {"Double", lines, "1\n\"2\"\n", 0, `{"n":1}|{"n":2}`},
		"csv":               {"Greet", csv, "name,times\nAda,2\n\"Bob, \"\"B\"\"\",\n007,1\n", 0, `{"name":"Ada","times":2,"note":null}|{"name":"Bob, \"B\"","times":1,"note":null}|{"name":"007","times":1,"note":null}`},
		"csv with a choice": {"Greet", csv, "\ufeffnote,name\n12,x\n,y\n", 0, `{"name":"x","times":1,"note":"12"}|{"name":"y","times":1,"note":null}`},
		"bad lines are named": {
			"Double", lines, "{\"n\":1}\n{\"n\":\"x\"}\n{\"n\"\n[1]\n{\"m\":1}\n", fault.Invalid,
			"4 of 5 inputs are not valid, so nothing was started\nline 2: 1 validation error for runArguments n   Input should be a valid integer\nline 3: this is no JSON\nline 4: ",
		},
		"many parameters":    {"Greet", lines, "1\n", fault.Invalid, "line 1: write a JSON object"},
		"csv, unknown name":  {"Greet", csv, "name,nome\na,b\n", fault.Invalid, `column 2 of the CSV is called "nome"`},
		"csv, ragged":        {"Greet", csv, "name,times\na\nb,1\n", fault.Invalid, "line 2: this row cannot be read: wrong number of fields"},
		"csv, bad number":    {"Greet", csv, "name,times\na,b\n", fault.Invalid, "line 2: "},
		"csv, nothing":       {"Greet", csv, "", fault.Invalid, "the CSV is empty"},
		"nothing":            {"Double", lines, "\n", fault.Invalid, "at least one"},
		"too many":           {"Double", lines, strings.Repeat("1\n", 1001), fault.TooLarge, "at most 1000 inputs"},
		"too large":          {"Greet", lines, strings.Repeat(`{"name":"`+strings.Repeat("x", 100_000)+"\"}\n", 11), fault.TooLarge, "at most 1 MiB"},
		"no such workflow":   {"Triple", lines, "1\n", fault.NotFound, "it has: "},
		"reserved parameter": {"Double", lines, `{"n":1,"__mcp_agent_workflow_id":"x"}`, 0, `{"n":1}`},
	}
	f.bounds.Open = 100
	service := f.service(make(chan struct{}))
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			res, err := service.StartBatch(f.ctx, &schedulerv1.StartBatchRequest{TargetId: f.app, Name: tt.name, Format: tt.format, Inputs: []byte(tt.inputs)})
			if tt.kind != 0 {
				if !tt.kind.Is(err) || !strings.Contains(fault.Message(err), tt.want) {
					t.Errorf("StartBatch() = %v, want kind %v and %q", err, tt.kind, tt.want)
				}
				return
			}
			if err != nil {
				t.Fatalf("StartBatch() = %v", err)
			}
			items, err := f.store.Items(t.Context(), res.GetBatch().GetBatchId(), 0, 100)
			var inputs []string
			for _, i := range items {
				inputs = append(inputs, i.Input)
			}
			if got := strings.Join(inputs, "|"); err != nil || got != tt.want {
				t.Errorf("inputs = %s, %v, want %s", got, err, tt.want)
			}
		})
	}
	var left int
	if err := f.db.QueryRow(t.Context(), `SELECT COUNT(*) FROM batches WHERE state = 'filling'`).Scan(&left); err != nil || left != 0 {
		t.Errorf("%d refused batches are left, %v", left, err)
	}
}

func TestInvalidInputsAreSkippedOnRequest(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.steer()
	res, err := f.client.StartBatch(f.ctx, &schedulerv1.StartBatchRequest{
		TargetId: f.app, Name: "Double", Inputs: []byte("1\n\"x\"\n2\n"), SkipInvalid: true,
	})
	if err != nil || res.GetBatch().GetTotal() != 2 || res.GetBatch().GetSkipped() != 1 || len(res.GetInvalid()) != 1 || res.GetInvalid()[0].GetLine() != 2 {
		t.Fatalf("StartBatch() = %v, %v", res, err)
	}
	f.until(res.GetBatch().GetBatchId(), completed)
}

func TestBatchOfARunsResult(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.steer()
	run, err := f.runs.StartRun(f.ctx, &schedulerv1.StartRunRequest{TargetId: f.app, Name: "Numbers"})
	if err != nil {
		t.Fatal(err)
	}
	b := f.start(&schedulerv1.StartBatchRequest{Name: "Double", SourceRunId: run.GetRunId()})
	f.until(b.GetBatchId(), completed)
	if got := f.rows(b.GetBatchId()); len(got) != 3 || string(got[0].Result) != "2" || string(got[1].Result) != "4" || string(got[2].Result) != "6" {
		t.Errorf("results = %+v", got)
	}
}

func TestBatchIsPausedResumedAndCancelled(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.steer()
	b := f.start(&schedulerv1.StartBatchRequest{Name: "Wait", Inputs: numbers(0, 400), Concurrency: 4})
	f.until(b.GetBatchId(), func(b *schedulerv1.Batch) bool { return b.GetRunning() == 4 })
	if _, err := f.client.PauseBatch(f.ctx, &schedulerv1.PauseBatchRequest{BatchId: b.GetBatchId()}); err != nil {
		t.Fatal(err)
	}
	f.until(b.GetBatchId(), func(b *schedulerv1.Batch) bool { f.resumeRuns(b.GetBatchId()); return b.GetRunning() == 0 })
	still := f.until(b.GetBatchId(), func(b *schedulerv1.Batch) bool { return true }).GetBatch()
	res, err := f.client.ResumeBatch(f.ctx, &schedulerv1.ResumeBatchRequest{BatchId: b.GetBatchId()})
	// Within a second that the pause needs to be noticed, those that ended may be replaced.
	if err != nil || still.GetCompleted() < 4 || res.GetBatch().GetPending() != 400-still.GetCompleted() || res.GetBatch().GetPending() == 0 {
		t.Fatalf("ResumeBatch() = %v, %v after %v", res, err, still)
	}
	f.until(b.GetBatchId(), func(b *schedulerv1.Batch) bool { return b.GetRunning() == 4 })
	if _, err := f.client.CancelBatch(f.ctx, &schedulerv1.CancelBatchRequest{BatchId: b.GetBatchId()}); err != nil {
		t.Fatal(err)
	}
	end := f.until(b.GetBatchId(), func(b *schedulerv1.Batch) bool {
		return b.GetState() == schedulerv1.BatchState_BATCH_STATE_CANCELLED
	}).GetBatch()
	if end.GetCompleted() != still.GetCompleted() || end.GetCancelled() != 400-still.GetCompleted() || end.GetFailed() != 0 {
		t.Errorf("the batch ended as %v", end)
	}
	if _, err := f.client.ResumeBatch(f.ctx, &schedulerv1.ResumeBatchRequest{BatchId: b.GetBatchId()}); !fault.Conflict.Is(err) {
		t.Errorf("ResumeBatch() of a cancelled batch = %v, want a conflict", err)
	}
	f.wantEvents("scheduler.batch.cancelled", 1)
}

// resumeRuns signals the runs of items that are open.
func (f *fixture) resumeRuns(batchID string) {
	f.t.Helper()
	items, err := f.client.ListBatchItems(f.ctx, &schedulerv1.ListBatchItemsRequest{BatchId: batchID, State: schedulerv1.BatchItemState_BATCH_ITEM_STATE_RUNNING})
	if err != nil {
		f.t.Fatalf("ListBatchItems() = %v", err)
	}
	for _, i := range items.GetItems() {
		// One that has just ended takes no signal.
		_ = f.temporal().SignalWorkflow(f.t.Context(), i.GetWorkflowId(), i.GetRunId(), "resume", nil)
	}
}

// TestProcessesDie ends the process that steers, again and again, and lets two steer at once.
func TestProcessesDie(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	stop := f.steer()
	b := f.start(&schedulerv1.StartBatchRequest{Name: "Double", Inputs: numbers(0, 150), Concurrency: 10})
	for _, done := range []int64{20, 60} {
		f.until(b.GetBatchId(), func(b *schedulerv1.Batch) bool { return b.GetCompleted() >= done })
		stop()
		stop = f.steer()
	}
	f.steer()
	f.until(b.GetBatchId(), completed)
	f.checkRows(b.GetBatchId(), 150)
	for n := range 150 {
		if f.calls[n] != 1 {
			t.Errorf("the run of %d began %d times", n, f.calls[n])
		}
	}
	f.wantEvents("scheduler.batch.completed", 1)
}

func TestBatchesAreTheirOrganisations(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	b := f.start(&schedulerv1.StartBatchRequest{Name: "Double", Inputs: []byte("1")})
	stranger := principal.With(t.Context(), principal.Principal{Kind: principal.User, OrgID: "org_other", UserID: "u_2"})
	calls := map[string]func() error{
		"start": func() error {
			_, err := f.client.StartBatch(stranger, &schedulerv1.StartBatchRequest{TargetId: f.app, Name: "Double", Inputs: []byte("1")})
			return err
		},
		"get": func() error {
			_, err := f.client.GetBatch(stranger, &schedulerv1.GetBatchRequest{BatchId: b.GetBatchId()})
			return err
		},
		"items": func() error {
			_, err := f.client.ListBatchItems(stranger, &schedulerv1.ListBatchItemsRequest{BatchId: b.GetBatchId()})
			return err
		},
		"results": func() error {
			stream, err := f.client.DownloadBatchResults(stranger, &schedulerv1.DownloadBatchResultsRequest{BatchId: b.GetBatchId()})
			if err == nil {
				_, err = stream.Recv()
			}
			return err
		},
		"cancel": func() error {
			_, err := f.client.CancelBatch(stranger, &schedulerv1.CancelBatchRequest{BatchId: b.GetBatchId()})
			return err
		},
		"retry": func() error {
			_, err := f.client.RetryBatch(stranger, &schedulerv1.RetryBatchRequest{BatchId: b.GetBatchId()})
			return err
		},
	}
	for name, call := range calls {
		if err := call(); !fault.NotFound.Is(err) {
			t.Errorf("%s by a stranger = %v, want not found", name, err)
		}
	}
	list, err := f.client.ListBatches(stranger, &schedulerv1.ListBatchesRequest{})
	if err != nil || len(list.GetBatches()) != 0 {
		t.Errorf("ListBatches() of a stranger = %v, %v", list, err)
	}
}

func TestKeysAndBounds(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	first := f.start(&schedulerv1.StartBatchRequest{Name: "Double", Inputs: []byte("1"), IdempotencyKey: "k"})
	if again := f.start(&schedulerv1.StartBatchRequest{Name: "Double", Inputs: []byte("1"), IdempotencyKey: "k"}); again.GetBatchId() != first.GetBatchId() {
		t.Errorf("the same key gave %s and %s", first.GetBatchId(), again.GetBatchId())
	}
	time.Sleep(2 * time.Millisecond) // batches sort by the time of their start
	second := f.start(&schedulerv1.StartBatchRequest{Name: "Double", Inputs: []byte("1")})
	f.start(&schedulerv1.StartBatchRequest{Name: "Double", Inputs: []byte("1")})
	if _, err := f.client.StartBatch(f.ctx, &schedulerv1.StartBatchRequest{TargetId: f.app, Name: "Double", Inputs: []byte("1")}); !fault.Exhausted.Is(err) {
		t.Errorf("StartBatch() of a fourth = %v, want exhausted", err)
	}
	for _, n := range []int32{-1, 51} {
		if _, err := f.client.StartBatch(f.ctx, &schedulerv1.StartBatchRequest{TargetId: f.app, Name: "Double", Inputs: []byte("1"), Concurrency: n}); !fault.Invalid.Is(err) {
			t.Errorf("StartBatch() with a concurrency of %d = %v, want invalid", n, err)
		}
	}
	var ids []string
	for token := ""; ; {
		page, err := f.client.ListBatches(f.ctx, &schedulerv1.ListBatchesRequest{PageSize: 1, PageToken: token, TargetId: f.app})
		if err != nil {
			t.Fatal(err)
		}
		for _, b := range page.GetBatches() {
			ids = append(ids, b.GetBatchId())
		}
		if token = page.GetNextPageToken(); token == "" {
			break
		}
	}
	if len(ids) != 3 || ids[2] != first.GetBatchId() || ids[1] == ids[0] || ids[1] != second.GetBatchId() && ids[0] != second.GetBatchId() {
		t.Errorf("ListBatches() by one = %v", ids)
	}
}

func TestResultsAsCSV(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.steer()
	b := f.start(&schedulerv1.StartBatchRequest{Name: "Greet", Inputs: []byte("{\"name\":\"A, B\"}\n")})
	f.until(b.GetBatchId(), completed)
	got := f.results(&schedulerv1.DownloadBatchResultsRequest{BatchId: b.GetBatchId(), Format: schedulerv1.ResultFormat_RESULT_FORMAT_CSV})
	want := `0,completed,"{""name"":""A, B"",""times"":1,""note"":null}","Hello, A, B!",,,Greet-`
	if lines := strings.Split(got, "\n"); lines[0] != "index,state,input,result,error_type,error_message,workflow_id,run_id" || !strings.HasPrefix(lines[1], want) {
		t.Errorf("results = %s, want %s", got, want)
	}
	failed := f.results(&schedulerv1.DownloadBatchResultsRequest{BatchId: b.GetBatchId(), State: schedulerv1.BatchItemState_BATCH_ITEM_STATE_FAILED})
	if failed != "" {
		t.Errorf("failed items = %s, want none", failed)
	}
}
