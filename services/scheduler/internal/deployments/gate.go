package deployments

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/mcpagentcloud/agentcloud/pkg/bus"
	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/pkg/id"
	"github.com/mcpagentcloud/agentcloud/pkg/projectfile"
	"github.com/mcpagentcloud/agentcloud/pkg/sqldb"
	busv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/bus/v1"
	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/flow"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/store"
)

// What becomes of a deploy that defines tools in another way under the same names, and
// who makes versions live.
const (
	ToolsAllow    = "allow" // it is no matter
	ToolsWarn     = "warn"  // it is told
	ToolsAsk      = "ask"   // it is told, and the version waits to be promoted
	promoteManual = "manual"
)

// tellWithin bounds what telling adds to a deploy; what was found is on record.
const tellWithin = 5 * time.Second

// Decide compares the version's tools with those that are live, records what it finds,
// and says whether the version may go live by itself.
func (s *steps) Decide(ctx context.Context, in flow.Version) (flow.Gate, error) {
	defer s.begin(ctx, in, "policy")()
	v, err := s.wanted(ctx, in.VersionID)
	if fault.Conflict.Is(err) {
		return flow.Gate{}, nil // the switch finds out, too, and says it
	}
	if err != nil {
		return flow.Gate{}, errors.New("the version was not found in the store")
	}
	// The builder has checked the file; of a newer one the rest holds.
	file, _ := projectfile.Decode(v.Artifact.GetManifest().GetProjectJson())
	changes, err := s.compareTools(ctx, v, cmp.Or(file.Deploy.ChangedTools, ToolsWarn))
	if err != nil {
		return flow.Gate{}, errors.New("the tools of the new version were not compared with those before")
	}
	if v.TargetID != v.AppID {
		return flow.Gate{}, nil // a user's instance follows its app
	}
	switch {
	case file.Deploy.Promote == promoteManual:
		return flow.Gate{Held: "agentcloud.yaml says that versions are made live by hand (deploy.promote)"}, nil
	case changes.Policy == ToolsAsk && len(changes.Changed) > 0:
		return flow.Gate{Held: changedTools(changes) + ", and agentcloud.yaml says to ask then (deploy.changed_tools)"}, nil
	case file.Deploy.Rollout != nil && changes.Than > 0: // there is one to compare it with
		return flow.Gate{Held: "agentcloud.yaml says to try it first (deploy.rollout)", Try: true}, nil
	}
	return flow.Gate{}, nil
}

// compareTools records how the tools of a version differ from those that are live.
func (s *steps) compareTools(ctx context.Context, v store.Version, policy string) (store.ToolChanges, error) {
	t, err := s.store.Target(ctx, v.TargetID)
	if err != nil || t.Live == "" || t.Live == v.ID {
		return store.ToolChanges{}, err
	}
	live, err := s.store.Version(ctx, t.Live)
	if err != nil {
		return store.ToolChanges{}, err
	}
	changes, err := compareTools(live.Capture.ToolsJSON, v.Capture.ToolsJSON)
	if err != nil {
		return changes, err
	}
	changes.Than, changes.Policy = live.Number, policy
	told := len(changes.Changed) > 0 && policy != ToolsAllow
	err = s.store.Tx(ctx, func(tx *sqldb.Tx) error {
		if err := s.store.SetToolChanges(ctx, tx, v.ID, changes); err != nil || !told {
			return err
		}
		return bus.Put(ctx, tx, &schedulerv1.VersionToolsChanged{
			TargetId: v.TargetID, AppId: v.AppID, VersionId: v.ID, Time: timestamppb.New(s.now()), Tools: changes.Changed, Policy: policy,
		})
	})
	if err == nil && told {
		s.tellLog(ctx, v, changedTools(changes))
	}
	return changes, err
}

// changedTools says which tools changed, for people.
func changedTools(c store.ToolChanges) string {
	what := "the definition of the tool " + c.Changed[0]
	if n := len(c.Changed); n > 1 {
		what = fmt.Sprintf("the definitions of %d tools", n)
	}
	text := fmt.Sprintf("%s changed under the same name since version %d", what, c.Than)
	if len(c.Changed) > 1 {
		text += ": " + strings.Join(c.Changed[:min(len(c.Changed), mostNamed)], ", ")
	}
	return text
}

// mostNamed bounds a sentence.
const mostNamed = 20

// tellLog puts a warning into the app's log, where the one who deploys looks.
func (s *steps) tellLog(ctx context.Context, v store.Version, text string) {
	ctx, cancel := context.WithTimeout(ctx, tellWithin)
	defer cancel()
	err := s.publishLog(ctx, &busv1.LogBatch{TargetId: v.TargetID, OrgId: v.OrgID, Lines: []*busv1.LogLine{{
		LineId: id.Line.New(), Time: timestamppb.New(s.now()), Level: busv1.LogLevel_LOG_LEVEL_WARNING, Logger: "agentcloud.deploy",
		Message: text, Source: busv1.LogSource_LOG_SOURCE_PLATFORM, VersionId: v.ID,
	}}})
	if err != nil {
		s.log.WarnContext(ctx, "a line of an app's log was not published", "target", v.TargetID, "version", v.ID, "error", err)
	}
}

// notices is what the one who deployed a version should know.
func notices(v store.Version) (all []string) {
	if c := v.ToolChanges; c != nil && len(c.Changed) > 0 && c.Policy != ToolsAllow {
		all = append(all, changedTools(*c))
	}
	if v.State == store.Ready {
		all = append(all, fmt.Sprintf("version %d is up and waits to be promoted: %s", v.Number, v.Held))
	}
	return all
}

// Park lets the version wait to be promoted.
func (s *steps) Park(ctx context.Context, in flow.Version, why string) (flow.Switched, error) {
	defer s.begin(ctx, in, "park")()
	v, err := s.wanted(ctx, in.VersionID)
	if err == nil {
		err = s.store.Tx(ctx, func(tx *sqldb.Tx) error {
			again, err := s.store.Park(ctx, tx, v.TargetID, v.ID, why, s.now())
			if err != nil || again {
				return err
			}
			return bus.Put(ctx, tx, &schedulerv1.VersionReady{TargetId: v.TargetID, AppId: v.AppID, VersionId: v.ID, Time: timestamppb.New(s.now()), Reason: why})
		})
	}
	if err != nil {
		failure, err := s.verdict(ctx, in, "park", err)
		return flow.Switched{Superseded: failure}, err
	}
	cooled, err := s.store.Cooled(ctx, in.TargetID)
	return flow.Switched{Cooled: cooled}, err
}
