// Package access holds the rules of who may do what with an app. They are pure: a
// caller and a thing in, an answer out.
package access

import (
	"context"
	"strings"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/pkg/id"
	"github.com/mcpagentcloud/agentcloud/pkg/principal"
	registryv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/registry/v1"
	"github.com/mcpagentcloud/agentcloud/services/registry/internal/store"
)

// Names of resources and actions, as the public command line sends them.
const (
	appResource           = "MCP_APP"
	configurationResource = "MCP_APP_CONFIG"
	viewAction            = "VIEW"

	maxActions = 100
)

// MayManage says whether the caller may change, deploy or delete what creator made.
// That both are of one organisation has been checked.
func MayManage(caller principal.Principal, creatorID string) bool {
	return caller.Kind == principal.User && (caller.Admin || caller.UserID == creatorID)
}

// Manager fails with a sentence unless MayManage.
func Manager(caller principal.Principal, creatorID string) error {
	if MayManage(caller, creatorID) {
		return nil
	}
	return fault.Denied.Errorf("only the app's creator or an administrator of the organisation may do this")
}

// Service implements registryv1.AccessServiceServer.
type Service struct {
	registryv1.UnimplementedAccessServiceServer
	store *store.Store
}

// NewService returns a Service on the store.
func NewService(s *store.Store) *Service { return &Service{store: s} }

// CanViewerDo answers each action; what the caller cannot see, the caller cannot do.
func (s *Service) CanViewerDo(ctx context.Context, req *registryv1.CanViewerDoRequest) (*registryv1.CanViewerDoResponse, error) {
	caller := principal.From(ctx)
	kind, target, ok := strings.Cut(req.GetResourceName(), ":")
	if !ok {
		return nil, fault.Invalid.Errorf("a resource is named like %s:<id>", appResource)
	}
	if len(req.GetActions()) > maxActions {
		return nil, fault.TooLarge.Errorf("at most %d actions can be asked about at once", maxActions)
	}
	creator, err := s.creator(ctx, caller.OrgID, kind, target)
	if err != nil && !fault.NotFound.Is(err) {
		return nil, err
	}
	res := &registryv1.CanViewerDoResponse{}
	for _, action := range req.GetActions() {
		may := err == nil && allowed(caller, creator, kind, action)
		res.CanDoActions = append(res.CanDoActions, &registryv1.ActionCheck{Action: action, CanDoAction: may})
	}
	return res, nil
}

func (s *Service) creator(ctx context.Context, org, kind, target string) (string, error) {
	switch {
	case kind == appResource && id.App.Valid(target):
		app, err := s.store.FindApp(ctx, org, target)
		return app.CreatorID, err
	case kind == configurationResource && id.AppConfiguration.Valid(target):
		configuration, err := s.store.FindConfiguration(ctx, org, target)
		return configuration.CreatorID, err
	}
	return "", fault.NotFound.Errorf("no such resource")
}

func allowed(caller principal.Principal, creator, kind, action string) bool {
	verb, on, _ := strings.Cut(action, ":")
	if on != kind {
		return false
	}
	return verb == viewAction && caller.Kind == principal.User || MayManage(caller, creator)
}
