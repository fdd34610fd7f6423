package batches

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/mcpagentcloud/agentcloud/pkg/bus"
	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/pkg/id"
	"github.com/mcpagentcloud/agentcloud/pkg/principal"
	"github.com/mcpagentcloud/agentcloud/pkg/sqldb"
	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/runs"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/store"
)

const (
	usualConcurrency = 20
	maxKey           = 200
	// fillItems and fillBytes bound what is written in one statement.
	fillItems = 200
	fillBytes = 1 << 20
	// toldInvalid and saidInvalid bound the inputs that an answer and an error name.
	toldInvalid = 100
	saidInvalid = 20
)

// StartBatch takes the inputs and begins.
func (s *Service) StartBatch(ctx context.Context, req *schedulerv1.StartBatchRequest) (*schedulerv1.StartBatchResponse, error) {
	return s.start(ctx, req, bytes.NewReader(req.GetInputs()))
}

// UploadBatch is StartBatch for inputs that come in parts.
func (s *Service) UploadBatch(stream schedulerv1.BatchesService_UploadBatchServer) error {
	first, err := stream.Recv()
	if err != nil {
		return err
	}
	if first.GetStart() == nil {
		return fault.Invalid.Errorf("the first part of an upload says what is to be done")
	}
	head := io.MultiReader(bytes.NewReader(first.GetStart().GetInputs()), bytes.NewReader(first.GetInputs()))
	started, err := s.start(stream.Context(), first.GetStart(), io.MultiReader(head, &parts{stream: stream}))
	if err != nil {
		return err
	}
	return stream.SendAndClose(&schedulerv1.UploadBatchResponse{Started: started})
}

// parts reads the inputs of a stream.
type parts struct {
	stream schedulerv1.BatchesService_UploadBatchServer
	rest   []byte
}

func (p *parts) Read(into []byte) (int, error) {
	for len(p.rest) == 0 {
		part, err := p.stream.Recv()
		if err != nil {
			return 0, err // io.EOF at the end
		}
		p.rest = part.GetInputs()
	}
	n := copy(into, p.rest)
	p.rest = p.rest[n:]
	return n, nil
}

// start keeps the inputs, all or none, and begins.
func (s *Service) start(ctx context.Context, req *schedulerv1.StartBatchRequest, text io.Reader) (*schedulerv1.StartBatchResponse, error) {
	check, err := s.deps.Runs.Inputs(ctx, req.GetTargetId(), req.GetName())
	if err != nil {
		return nil, err
	}
	b, err := s.plan(ctx, req, check)
	if err != nil {
		return nil, err
	}
	from, err := s.source(ctx, req, check, text)
	if err != nil {
		return nil, err
	}
	err = s.deps.Store.OpenBatch(ctx, b, s.deps.Bounds.Open)
	if fault.Exists.Is(err) && req.GetIdempotencyKey() != "" {
		known, err := s.batch(ctx, b.ID)
		if fault.NotFound.Is(err) {
			err = fault.Conflict.Errorf("the inputs of this batch are just being uploaded; try again in a moment")
		}
		return &schedulerv1.StartBatchResponse{Batch: tell(known)}, err
	}
	if err != nil {
		return nil, err
	}
	f := filling{store: s.deps.Store, batchID: b.ID, check: check, skip: req.GetSkipInvalid(), most: s.deps.Bounds.Items}
	if err := s.fill(ctx, &f, from, b); err != nil {
		return nil, errors.Join(err, s.deps.Store.DeleteBatch(context.WithoutCancel(ctx), b.ID))
	}
	s.wake(ctx, b.ID)
	b, err = s.deps.Store.Batch(ctx, b.ID)
	return &schedulerv1.StartBatchResponse{Batch: tell(b), Invalid: f.invalid}, err
}

// plan is the batch that a request asks for.
func (s *Service) plan(ctx context.Context, req *schedulerv1.StartBatchRequest, check *runs.Inputs) (store.Batch, error) {
	b := store.Batch{
		ID: s.deps.NewID(), OrgID: check.Target.OrgID, TargetID: check.Target.ID, Name: req.GetName(), UserID: principal.From(ctx).UserID,
		Concurrency: int(req.GetConcurrency()), CreatedAt: s.deps.Now(),
	}
	if b.Concurrency == 0 {
		b.Concurrency = min(usualConcurrency, s.deps.Bounds.Concurrency)
	}
	if b.Concurrency < 0 || b.Concurrency > s.deps.Bounds.Concurrency {
		return b, fault.Invalid.Errorf("the concurrency is %d; use 1 to %d", b.Concurrency, s.deps.Bounds.Concurrency)
	}
	if key := req.GetIdempotencyKey(); len(key) > maxKey {
		return b, fault.Invalid.Errorf("the idempotency key has %d bytes; at most %d are taken", len(key), maxKey)
	} else if key != "" {
		b.ID = id.Batch.Of(b.OrgID, b.TargetID, b.Name, key)
	}
	return b, nil
}

// fill reads all inputs and, when they are good, says that the batch begins.
func (s *Service) fill(ctx context.Context, f *filling, from source, b store.Batch) error {
	for {
		in, err := from.next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		if err := f.add(ctx, in); err != nil {
			return err
		}
	}
	if err := f.end(ctx); err != nil {
		return err
	}
	b.Pending = f.taken
	return s.deps.Store.Tx(ctx, func(tx *sqldb.Tx) error {
		if err := s.deps.Store.BeginBatch(ctx, tx, b.ID, f.taken, f.bad, s.deps.Now()); err != nil {
			return err
		}
		return bus.Put(ctx, tx, s.startedEvent(b))
	})
}

// filling is a batch that gets its inputs.
type filling struct {
	store   *store.Store
	batchID string
	check   *runs.Inputs
	skip    bool
	most    int64

	taken, bad int64
	invalid    []*schedulerv1.InvalidInput
	chunk      []string
	size       int
}

// add checks an input and keeps it.
func (f *filling) add(ctx context.Context, in input) error {
	err := in.err
	if err == nil {
		var args []byte
		if args, err = f.check.Check(in.arguments); err == nil {
			f.chunk, f.size = append(f.chunk, string(args)), f.size+len(args)
		}
	}
	if err != nil {
		return f.refuse(in.line, err)
	}
	if f.taken+int64(len(f.chunk)) > f.most {
		return fault.TooLarge.Errorf("a batch may have at most %d inputs; make several", f.most)
	}
	if len(f.chunk) >= fillItems || f.size >= fillBytes {
		return f.flush(ctx)
	}
	return nil
}

// refuse remembers what is wrong with an input.
func (f *filling) refuse(line int64, err error) error {
	if kind := fault.KindOf(err); kind != fault.Invalid && kind != fault.TooLarge {
		return err
	}
	f.bad++
	if len(f.invalid) < toldInvalid {
		f.invalid = append(f.invalid, &schedulerv1.InvalidInput{Line: line, Reason: fault.Message(err)})
	}
	return nil
}

func (f *filling) flush(ctx context.Context) error {
	if f.bad == 0 || f.skip { // otherwise nothing will begin
		if err := f.store.FillBatch(ctx, f.batchID, f.taken, f.chunk); err != nil {
			return err
		}
	}
	f.taken += int64(len(f.chunk))
	f.chunk, f.size = f.chunk[:0], 0
	return nil
}

// end keeps the rest and says whether the inputs can be taken.
func (f *filling) end(ctx context.Context) error {
	if err := f.flush(ctx); err != nil {
		return err
	}
	if f.bad > 0 && !f.skip {
		return fault.Invalid.Errorf("%s", f.sentence())
	}
	if f.taken == 0 {
		return fault.Invalid.Errorf("there is no input that can be taken; a batch needs at least one")
	}
	return nil
}

func (f *filling) sentence() string {
	var text strings.Builder
	fmt.Fprintf(&text, "%d of %d inputs are not valid, so nothing was started", f.bad, f.bad+f.taken)
	for _, one := range f.invalid[:min(len(f.invalid), saidInvalid)] {
		fmt.Fprintf(&text, "\nline %d: %s", one.GetLine(), strings.ReplaceAll(one.GetReason(), "\n", " "))
	}
	if f.bad > saidInvalid {
		fmt.Fprintf(&text, "\nand %d more", f.bad-saidInvalid)
	}
	return text.String()
}
