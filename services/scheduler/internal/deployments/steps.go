package deployments

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/client"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/mcpagentcloud/agentcloud/pkg/agentenv"
	"github.com/mcpagentcloud/agentcloud/pkg/bus"
	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/pkg/sqldb"
	busv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/bus/v1"
	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/endpoints"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/failpoint"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/flow"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/locks"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/retries"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/store"
)

const (
	beatEvery = 3 * time.Second
	lookEvery = 50 * time.Millisecond
	// maxError bounds what is recorded of a failure, bytes.
	maxError = 16 << 10
)

// clients gives Temporal clients.
type clients interface {
	Client(ctx context.Context, namespace string) (client.Client, error)
	System(ctx context.Context) (client.Client, error)
}

// steps does what the flows decide. Its exported methods are the activities.
type steps struct {
	*launcher
	schedules  schedules
	prober     Prober
	remote     RemoteProber
	publishLog func(ctx context.Context, batch *busv1.LogBatch) error
	table      *endpoints.Table
	record     recorder
	failpoints *failpoint.Points
	health     time.Duration

	// publishing makes the changes of one target's endpoint happen one after another.
	publishing locks.Locks
}

// beat tells Temporal that an activity is alive until the returned function is called.
func beat(ctx context.Context) (stop func()) {
	done := make(chan struct{})
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		ticker := time.NewTicker(beatEvery)
		defer ticker.Stop()
		for {
			activity.RecordHeartbeat(ctx)
			select {
			case <-done:
				return
			case <-ctx.Done():
				return
			case <-ticker.C:
			}
		}
	}()
	return func() { close(done); <-ended }
}

// begin beats for a step of a deploy until the returned function is called, and then
// tells operators how long the step took.
func (s *steps) begin(ctx context.Context, in flow.Version, step string) (end func()) {
	stop, began := beat(ctx), time.Now()
	return func() {
		stop()
		s.took(ctx, in, step, began)
	}
}

func (s *steps) took(ctx context.Context, in flow.Version, step string, began time.Time) {
	s.log.InfoContext(ctx, "a step of a deploy is over", "step", step, "target", in.TargetID, "version", in.VersionID, "took", time.Since(began))
}

// Build makes the artifact and records it.
func (s *steps) Build(ctx context.Context, in flow.Version) (*flow.Failure, error) {
	defer s.begin(ctx, in, "build")()
	v, err := s.wanted(ctx, in.VersionID)
	if err != nil {
		return s.verdict(ctx, in, "build", err)
	}
	if v.Artifact != nil {
		return nil, nil
	}
	artifact, err := s.build(ctx, v)
	var rules []agentenv.Retry
	if err == nil {
		rules, err = retries.Of(artifact.GetManifest())
	}
	if err == nil {
		v.Artifact = artifact
		err = s.store.SetArtifact(ctx, v.ID, artifact, rules)
	}
	if err == nil {
		s.failpoints.Hit(failpoint.BuildDone)
	}
	return s.verdict(ctx, in, "build", err)
}

// CheckHandles asks whether the organisation has every secret the version names.
func (s *steps) CheckHandles(ctx context.Context, in flow.Version) (*flow.Failure, error) {
	defer s.begin(ctx, in, "check secrets")()
	v, err := s.wanted(ctx, in.VersionID)
	if err != nil {
		return s.verdict(ctx, in, "check secrets", err)
	}
	unknown, err := s.unknown(ctx, v.OrgID, handles(v.Artifact.GetManifest(), v.Params))
	if err != nil {
		return s.verdict(ctx, in, "check secrets", err)
	}
	if len(unknown) > 0 {
		return &flow.Failure{Reason: fmt.Sprintf("mcp_agent.deployed.secrets.yaml names secrets that do not exist here: %s. "+
			"Delete mcp_agent.deployed.secrets.yaml and deploy again, so that new ones are made.", strings.Join(unknown, ", "))}, nil
	}
	return nil, nil
}

// Launch starts the version's processes beside those that serve.
func (s *steps) Launch(ctx context.Context, in flow.Version) (*flow.Failure, error) {
	defer s.begin(ctx, in, "launch")()
	err := s.ensure(ctx, in.VersionID)
	if err == nil {
		s.failpoints.Hit(failpoint.Launched)
	}
	return s.verdict(ctx, in, "launch", err)
}

// MakeCurrent sends new runs of workflow classes to the version's worker. Temporal
// knows the version once its worker has polled, so the first tries may come too early.
func (s *steps) MakeCurrent(ctx context.Context, in flow.Version) error {
	defer s.begin(ctx, in, "route runs")()
	c, err := s.clients.Client(ctx, in.OrgID)
	if err != nil {
		return errors.New(fault.Message(err))
	}
	_, err = c.WorkerDeploymentClient().GetHandle(in.TargetID).SetCurrentVersion(ctx, client.WorkerDeploymentSetCurrentVersionOptions{
		BuildID: in.VersionID, IgnoreMissingTaskQueues: true,
	})
	return err
}

// Switch makes the version the live one.
func (s *steps) Switch(ctx context.Context, in flow.Version) (flow.Switched, error) {
	defer s.begin(ctx, in, "switch")()
	if failure, err := s.stillUp(ctx, in); failure != nil || err != nil {
		return flow.Switched{Superseded: failure}, err
	}
	v, err := s.wanted(ctx, in.VersionID)
	if err == nil {
		err = s.store.Tx(ctx, func(tx *sqldb.Tx) error { return s.switchIn(ctx, tx, v, in.By) })
	}
	if err != nil {
		failure, err := s.verdict(ctx, in, "switch", err)
		return flow.Switched{Superseded: failure}, err
	}
	s.failpoints.Hit(failpoint.Switched)
	if err := s.publish(ctx, v); err != nil {
		return flow.Switched{}, errors.New("the endpoint was not published")
	}
	return s.replaced(ctx, in.TargetID)
}

// replaced asks the store what a switch replaced, so that a second try tells the same.
func (s *steps) replaced(ctx context.Context, targetID string) (flow.Switched, error) {
	old, err := s.store.NewestDraining(ctx, targetID)
	if err != nil {
		return flow.Switched{}, err
	}
	cooled, err := s.store.Cooled(ctx, targetID)
	return flow.Switched{Old: old, Cooled: cooled}, err
}

// stillUp brings the version's processes back when they ended with an earlier life of
// this process, so that nothing is switched to that does not serve.
func (s *steps) stillUp(ctx context.Context, in flow.Version) (*flow.Failure, error) {
	wait, cancel := context.WithTimeout(ctx, s.health)
	defer cancel()
	v, err := s.wanted(wait, in.VersionID)
	if err == nil {
		err = s.ensure(wait, in.VersionID)
	}
	if err != nil || v.Capture.MCPURL != "" {
		return s.verdict(ctx, in, "launch", err)
	}
	_, failure := s.await(wait, in)
	return failure, ctx.Err()
}

func (s *steps) switchIn(ctx context.Context, tx *sqldb.Tx, v store.Version, by string) error {
	again, err := s.store.Switch(ctx, tx, v.TargetID, v.ID, s.now())
	if err != nil || again {
		return err
	}
	if s.options.KeepWarm > 0 {
		if err := s.store.KeepWarm(ctx, tx, v.TargetID, s.now().Add(s.options.KeepWarm)); err != nil {
			return err
		}
	}
	if err := s.schedules.Switched(ctx, tx, v); err != nil {
		return err
	}
	number, err := s.store.SwitchNumber(ctx, tx, v.ID)
	if err != nil {
		return err
	}
	return bus.Put(ctx, tx, &schedulerv1.VersionLive{
		TargetId: v.TargetID, AppId: v.AppID, VersionId: v.ID, Time: timestamppb.New(s.now()), UserParams: v.UserParams, SwitchNumber: number, By: by,
	})
}

// Abandon stops the version and records why; the one before goes on.
func (s *steps) Abandon(ctx context.Context, in flow.Version, why flow.Failure) error {
	defer beat(ctx)()
	v, err := s.store.Version(ctx, in.VersionID)
	if fault.NotFound.Is(err) {
		v = store.Version{ID: in.VersionID, TargetID: in.TargetID}
	} else if err != nil {
		return errors.New("the version was not found in the store")
	}
	if v.State == store.Live || v.State == store.Draining || v.State == store.Ready {
		return nil // it was switched to after all
	}
	if err := s.giveBack(ctx, in); err != nil {
		return err
	}
	if err := s.end(ctx, v); err != nil {
		s.log.WarnContext(ctx, "an abandoned version was not stopped", "target", in.TargetID, "version", in.VersionID, "error", err)
		return errors.New("the version was not stopped")
	}
	return s.store.Tx(ctx, func(tx *sqldb.Tx) error {
		text := bounded(why.String())
		failed, err := s.store.Fail(ctx, tx, in.TargetID, in.VersionID, text, s.now())
		if err != nil || !failed {
			return err
		}
		return bus.Put(ctx, tx, &schedulerv1.VersionFailed{TargetId: v.TargetID, AppId: v.AppID, VersionId: v.ID, Error: text})
	})
}

// giveBack sends new runs of workflow classes to the live version again, in case the
// abandoned one had them already.
func (s *steps) giveBack(ctx context.Context, in flow.Version) error {
	t, err := s.store.Target(ctx, in.TargetID)
	if fault.NotFound.Is(err) || err == nil && t.Live == "" {
		return nil
	}
	if err != nil {
		return errors.New("the app was not found in the store")
	}
	live, err := s.store.Version(ctx, t.Live)
	if err != nil || len(live.Capture.Workflows) == 0 {
		return nil //nolint:nilerr // a version that is gone has no worker
	}
	return s.MakeCurrent(ctx, flow.Version{TargetID: t.ID, OrgID: t.OrgID, VersionID: live.ID})
}

// bounded keeps the end of a long text, where the reason of a crash is.
func bounded(text string) string {
	if len(text) <= maxError {
		return text
	}
	head, _, _ := strings.Cut(text, "\n")
	head = head[:min(len(head), maxError/2)]
	return strings.ToValidUTF8(head+"\n…\n"+text[len(text)-maxError/2:], "")
}

// notFound says whether Temporal knows no such thing.
func notFound(err error) bool {
	var missing *serviceerror.NotFound
	return errors.As(err, &missing)
}

var (
	_ flow.DeploySteps  = (*steps)(nil)
	_ flow.PromoteSteps = (*steps)(nil)
	_ flow.RetireSteps  = (*steps)(nil)
	_ flow.RemoveSteps  = (*steps)(nil)
)
