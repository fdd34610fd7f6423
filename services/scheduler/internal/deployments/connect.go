package deployments

import (
	"context"
	"net/url"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/pkg/id"
	"github.com/mcpagentcloud/agentcloud/pkg/principal"
	"github.com/mcpagentcloud/agentcloud/pkg/sqldb"
	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/store"
)

// RemoteProber shakes hands with a server that runs elsewhere.
type RemoteProber interface {
	CaptureRemote(ctx context.Context, url string) (store.Capture, error)
}

// Connect makes a server that runs elsewhere the live version of a target.
func (s *Service) Connect(ctx context.Context, req *schedulerv1.ConnectRequest) (*schedulerv1.ConnectResponse, error) {
	if !id.App.Valid(req.GetTargetId()) || !id.Org.Valid(req.GetOrgId()) || !id.Version.Valid(req.GetVersionId()) {
		return nil, fault.Invalid.Errorf("the ids of app, organisation and version must be valid ones")
	}
	if err := checkURL(req.GetUrl()); err != nil {
		return nil, err
	}
	limited, cancel := context.WithTimeout(ctx, s.deps.Patience.Health)
	defer cancel()
	capture, err := s.deps.Remote.CaptureRemote(limited, req.GetUrl())
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if err != nil {
		s.deps.Log.InfoContext(ctx, "a server could not be connected", "target", req.GetTargetId(), "error", err)
		return &schedulerv1.ConnectResponse{
			Outcome: schedulerv1.DeployOutcome_DEPLOY_OUTCOME_FAILED,
			Error:   "no MCP server answers at this URL as it should: " + reason(err),
		}, nil
	}
	if err := s.goLive(ctx, req, capture); err != nil {
		return nil, err
	}
	v, err := s.deps.Store.Version(ctx, req.GetVersionId())
	return &schedulerv1.ConnectResponse{Outcome: schedulerv1.DeployOutcome_DEPLOY_OUTCOME_LIVE, SwitchNumber: v.Switched}, err
}

// reason is what a person may read of a handshake that did not work: the address is
// their own.
func reason(err error) string {
	if fault.KindOf(err) != fault.Internal {
		return fault.Message(err)
	}
	return err.Error()
}

func checkURL(text string) error {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || u.Fragment != "" {
		return fault.Invalid.Errorf("the URL must be http:// or https://, without a password: for example https://mcp.example.com/mcp")
	}
	return nil
}

// goLive records the version and makes it the live one, all or nothing.
func (s *Service) goLive(ctx context.Context, req *schedulerv1.ConnectRequest, capture store.Capture) error {
	v := store.Version{
		ID: req.GetVersionId(), TargetID: req.GetTargetId(), AppID: req.GetTargetId(), OrgID: req.GetOrgId(),
		AppName: req.GetAppName(), Number: req.GetNumber(), Capture: capture,
	}
	if _, err := s.deps.Store.BeginDeploy(ctx, v, "", s.deps.Now()); err != nil {
		return err
	}
	if err := s.deps.Store.SetCapture(ctx, v.ID, capture); err != nil {
		return err
	}
	if err := s.deps.Store.Tx(ctx, func(tx *sqldb.Tx) error { return s.steps.switchIn(ctx, tx, v, principal.From(ctx).UserID) }); err != nil {
		return err
	}
	if err := s.steps.publish(ctx, v); err != nil {
		return err
	}
	if err := s.deps.Schedules.Apply(ctx, v.TargetID); err != nil {
		s.deps.Log.WarnContext(ctx, "the schedules of a connected app are not yet as they should be", "target", v.TargetID, "error", err)
	}
	replaced, err := s.steps.replaced(ctx, v.TargetID)
	if err != nil {
		return err
	}
	for _, old := range append(replaced.Cooled, replaced.Old) {
		if old == "" {
			continue
		}
		if err := s.startRetire(ctx, store.Version{ID: old, TargetID: v.TargetID, OrgID: v.OrgID}); err != nil {
			return err
		}
	}
	return nil
}
