package packed_test

import (
	"strings"
	"sync"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/mcpagentcloud/agentcloud/pkg/packed"
)

func TestPack(t *testing.T) {
	t.Parallel()
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for _, text := range []string{"", "short", strings.Repeat(`{"type":"object","properties":{}}`, 1000)} {
				in, out := wrapperspb.String(text), &wrapperspb.StringValue{}
				p, err := packed.Pack(in)
				if err == nil {
					err = p.Unpack(out)
				}
				if err != nil || !proto.Equal(in, out) {
					t.Errorf("a message of %d bytes came back with %d, %v", len(text), len(out.GetValue()), err)
				}
				if len(text) > 1000 && len(p)*10 > len(text) {
					t.Errorf("%d bytes take %d", len(text), len(p))
				}
			}
		})
	}
	group.Wait()
}

func TestUnpackOfAnythingElse(t *testing.T) {
	t.Parallel()
	if err := packed.Message("not packed").Unpack(&wrapperspb.StringValue{}); err == nil {
		t.Error("what is not packed was unpacked")
	}
	if _, err := packed.Pack(wrapperspb.String("\xff")); err == nil {
		t.Error("what is no text was packed as one")
	}
}
