package replays

import (
	"strings"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
)

const (
	mostPairs = 2000
	// shownPayload is how much of an input or result is shown, in bytes.
	shownPayload = 2000
)

// compare lays steps side by side, one place after another.
func compare(left, right []step) *schedulerv1.DiffRunsResponse {
	answer := &schedulerv1.DiffRunsResponse{FirstDivergence: -1}
	for i := range max(len(left), len(right)) {
		pair := pairOf(at(left, i), at(right, i))
		if len(pair.GetDifferences()) > 0 && answer.GetFirstDivergence() < 0 {
			answer.FirstDivergence = int32(i) //nolint:gosec // histories have at most 51,200 events
		}
		if i >= mostPairs {
			answer.Truncated = true
			continue
		}
		answer.Pairs = append(answer.Pairs, pair)
	}
	return answer
}

func at(steps []step, i int) *step {
	if i < len(steps) {
		return &steps[i]
	}
	return nil
}

func pairOf(left, right *step) *schedulerv1.StepPair {
	pair := &schedulerv1.StepPair{Left: left.toProto(), Right: right.toProto()}
	if left == nil || right == nil {
		pair.Differences = []string{"kind"}
		return pair
	}
	for _, field := range []struct{ name, left, right string }{
		{"kind", left.kind, right.kind},
		{"name", left.name, right.name},
		{"input", left.input, right.input},
		{"result", left.result, right.result},
		{"error", left.failure, right.failure},
	} {
		if field.left != field.right {
			pair.Differences = append(pair.Differences, field.name)
		}
	}
	return pair
}

func (s *step) toProto() *schedulerv1.RunStep {
	if s == nil {
		return nil
	}
	told := &schedulerv1.RunStep{
		EventId: s.begin, Kind: s.kind, Name: s.name, InputJson: cut(s.input), ResultJson: cut(s.result), Error: cut(s.failure),
		StartTime: timestamppb.New(s.startedAt), Attempts: s.attempts,
	}
	if s.end > 0 {
		told.Duration = durationpb.New(s.endedAt.Sub(s.startedAt))
	}
	return told
}

func cut(text string) string {
	if len(text) <= shownPayload {
		return text
	}
	return strings.ToValidUTF8(text[:shownPayload], "") + "…"
}
