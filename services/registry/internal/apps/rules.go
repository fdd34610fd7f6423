package apps

import (
	"strconv"
	"strings"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/pkg/page"
	"github.com/mcpagentcloud/agentcloud/pkg/sqldb"
	registryv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/registry/v1"
	"github.com/mcpagentcloud/agentcloud/services/registry/internal/store"
)

const (
	maxName        = 100
	maxDescription = 4000
	maxMetadata    = 64 << 10
	maxReason      = 64 << 10
)

func description(text *string) error {
	switch {
	case text == nil:
		return nil
	case len(*text) > maxDescription:
		return fault.TooLarge.Errorf("a description may have at most %d bytes", maxDescription)
	case strings.ContainsRune(*text, 0):
		return fault.Invalid.Errorf("a description may not have NUL characters")
	}
	return nil
}

// nameTaken turns the database's refusal into a sentence.
func nameTaken(err error, name string) error {
	if sqldb.IsUnique(err) {
		return fault.Exists.Wrap(err, "an app named %q exists in your organisation already; choose another name, or ask its creator to deploy it", name)
	}
	return err
}

// metadataText is the deployer's words as JSON; empty when there are none.
func metadataText(metadata *structpb.Struct) (string, error) {
	if len(metadata.GetFields()) == 0 {
		return "", nil
	}
	text, err := protojson.Marshal(metadata)
	if err != nil {
		return "", fault.Invalid.Wrap(err, "the deployment metadata cannot be read")
	}
	if len(text) > maxMetadata {
		return "", fault.TooLarge.Errorf("the deployment metadata may have at most %d KiB", maxMetadata>>10)
	}
	return string(text), nil
}

func metadataProto(text string) *structpb.Struct {
	if text == "" {
		return nil
	}
	metadata := &structpb.Struct{}
	if protojson.Unmarshal([]byte(text), metadata) != nil {
		return nil // written by metadataText, so it reads back
	}
	return metadata
}

func (s *Service) appProto(a store.App) *registryv1.App {
	return &registryv1.App{
		AppId: a.ID, Name: a.Name, CreatorId: a.CreatorID, Description: a.Description,
		CreatedAt: timestamppb.New(a.CreatedAt), UpdatedAt: timestamppb.New(a.UpdatedAt),
		UnauthenticatedAccess: &a.Unauthenticated,
		AppServerInfo:         s.serverInfo(a.Address, a.LiveVersionID, a.Unauthenticated),
		DeploymentMetadata:    metadataProto(a.Metadata),
	}
}

func (s *Service) configurationProto(c store.Configuration) *registryv1.AppConfiguration {
	return &registryv1.AppConfiguration{
		AppConfigurationId: c.ID, App: s.appProto(c.App), CreatorId: c.CreatorID, CreatedAt: timestamppb.New(c.CreatedAt),
		AppServerInfo: s.serverInfo(c.Address, c.LiveVersionID, c.App.Unauthenticated),
	}
}

func (s *Service) serverInfo(at store.Address, liveVersion string, open bool) *registryv1.AppServerInfo {
	status := registryv1.AppServerStatus_APP_SERVER_STATUS_OFFLINE
	if liveVersion != "" && at.Ready {
		status = registryv1.AppServerStatus_APP_SERVER_STATUS_ONLINE
	}
	return &registryv1.AppServerInfo{ServerUrl: s.deps.Places.URL(at), Status: status, UnauthenticatedAccess: &open}
}

var versionStates = map[store.State]registryv1.VersionState{
	store.Pending: registryv1.VersionState_VERSION_STATE_PENDING,
	store.Live:    registryv1.VersionState_VERSION_STATE_LIVE,
	store.Retired: registryv1.VersionState_VERSION_STATE_RETIRED,
	store.Failed:  registryv1.VersionState_VERSION_STATE_FAILED,
	store.Ready:   registryv1.VersionState_VERSION_STATE_READY,
	store.Deleted: registryv1.VersionState_VERSION_STATE_DELETED,
}

func versionProto(v store.Version) *registryv1.Version {
	res := &registryv1.Version{
		VersionId: v.ID, AppId: v.AppID, Number: v.Number, BundleId: v.BundleID, State: versionStates[v.State], Error: v.Error,
		DeploymentMetadata: metadataProto(v.Metadata), CreatorId: v.CreatorID, CreatedAt: timestamppb.New(v.CreatedAt),
		BundleDigest: v.Digest, LiveBy: v.LiveBy,
	}
	if !v.LiveAt.IsZero() {
		res.LiveAt = timestamppb.New(v.LiveAt)
	}
	return res
}

func versionPage(number int64) string { return page.Encode(strconv.FormatInt(number, 10)) }

func versionToken(token string) (int64, error) {
	if token == "" {
		return 0, nil
	}
	position, err := page.Decode(token)
	if err != nil {
		return 0, err
	}
	number, err := strconv.ParseInt(position, 10, 64)
	if err != nil {
		return 0, fault.Invalid.Wrap(err, "the page token is damaged; start again without it")
	}
	return number, nil
}
