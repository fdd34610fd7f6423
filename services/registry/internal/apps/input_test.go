package apps_test

import (
	"context"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/pkg/id"
	"github.com/mcpagentcloud/agentcloud/pkg/page"
	registryv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/registry/v1"
	"github.com/mcpagentcloud/agentcloud/services/registry/internal/registrytest"
)

// try makes a call for its error.
func try[Q, A any](call func(context.Context, Q, ...grpc.CallOption) (A, error), req Q) func(context.Context) error {
	return func(ctx context.Context) error {
		_, err := call(ctx, req)
		return err
	}
}

func badInputIsTold(t *testing.T, w *registrytest.World) {
	app := create(t, w, w.Admin, "finder").GetAppId()
	big, err := structpb.NewStruct(map[string]any{"message": strings.Repeat("x", 70_000)})
	if err != nil {
		t.Fatal(err)
	}
	a := w.Apps
	tests := map[string]struct {
		call func(context.Context) error
		want fault.Kind
	}{
		"no name":                    {try(a.CreateApp, &registryv1.CreateAppRequest{Name: " "}), fault.Invalid},
		"a long name":                {try(a.CreateApp, &registryv1.CreateAppRequest{Name: strings.Repeat("x", 101)}), fault.Invalid},
		"a NUL in a name":            {try(a.CreateApp, &registryv1.CreateAppRequest{Name: "a\x00b"}), fault.Invalid},
		"a long description":         {try(a.CreateApp, &registryv1.CreateAppRequest{Name: "x", Description: proto.String(strings.Repeat("x", 5000))}), fault.TooLarge},
		"a NUL in a description":     {try(a.CreateApp, &registryv1.CreateAppRequest{Name: "x", Description: proto.String("\x00")}), fault.Invalid},
		"an empty new name":          {try(a.UpdateApp, &registryv1.UpdateAppRequest{AppId: app, Name: proto.String("")}), fault.Invalid},
		"update of nothing":          {try(a.UpdateApp, &registryv1.UpdateAppRequest{}), fault.Invalid},
		"get of nothing":             {try(a.GetApp, &registryv1.GetAppRequest{}), fault.Invalid},
		"an id that is none":         {try(a.GetApp, &registryv1.GetAppRequest{AppId: "finder"}), fault.NotFound},
		"a NUL in an id":             {try(a.GetApp, &registryv1.GetAppRequest{AppId: "app_\x00"}), fault.NotFound},
		"an id of nobody's":          {try(a.GetApp, &registryv1.GetAppRequest{AppId: id.App.New()}), fault.NotFound},
		"a URL that is none":         {try(a.GetApp, &registryv1.GetAppRequest{AppServerUrl: "http://a\x00b"}), fault.NotFound},
		"a URL of nobody's":          {try(a.GetApp, &registryv1.GetAppRequest{AppServerUrl: "https://x." + registrytest.Domain}), fault.NotFound},
		"delete of nothing":          {try(a.DeleteApp, &registryv1.DeleteAppRequest{}), fault.Invalid},
		"deploy of nothing":          {try(a.DeployApp, &registryv1.DeployAppRequest{}), fault.Invalid},
		"much metadata":              {try(a.DeployApp, &registryv1.DeployAppRequest{AppId: app, DeploymentMetadata: big}), fault.TooLarge},
		"a damaged page token":       {try(a.ListApps, &registryv1.ListAppsRequest{PageToken: "?"}), fault.Invalid},
		"a page token of others":     {try(a.ListApps, &registryv1.ListAppsRequest{PageToken: page.Encode("-3")}), fault.Invalid},
		"a NUL in a filter":          {try(a.ListApps, &registryv1.ListAppsRequest{NameFilter: "\x00"}), fault.Invalid},
		"a damaged versions token":   {try(a.ListVersions, &registryv1.ListVersionsRequest{AppId: app, PageToken: page.Encode("x")}), fault.Invalid},
		"versions of nothing":        {try(a.ListVersions, &registryv1.ListVersionsRequest{}), fault.Invalid},
		"a NUL in a list of others":  {try(a.ListAppConfigurations, &registryv1.ListAppConfigurationsRequest{NameFilter: "\x00"}), fault.Invalid},
		"configuration of nothing":   {try(a.GetAppConfiguration, &registryv1.GetAppConfigurationRequest{}), fault.Invalid},
		"a configuration's bad id":   {try(a.GetAppConfiguration, &registryv1.GetAppConfigurationRequest{AppConfigurationId: "\x00"}), fault.NotFound},
		"configure of nothing":       {try(a.ConfigureApp, &registryv1.ConfigureAppRequest{}), fault.Invalid},
		"parameters of nothing":      {try(a.ListConfigParams, &registryv1.ListConfigParamsRequest{}), fault.Invalid},
		"delete of no configuration": {try(a.DeleteAppConfiguration, &registryv1.DeleteAppConfigurationRequest{}), fault.NotFound},
		"upload for nothing":         {try(a.AuthorizeUpload, &registryv1.AuthorizeUploadRequest{}), fault.Invalid},
		"an upload of nothing":       {try(a.RecordUpload, &registryv1.RecordUploadRequest{AppId: app}), fault.Invalid},
		"a NUL in a digest":          {try(a.RecordUpload, &registryv1.RecordUploadRequest{AppId: app, BundleId: id.Bundle.New(), Digest: "\x00"}), fault.Invalid},
		"a target that is none":      {try(a.ResolveTarget, &registryv1.ResolveTargetRequest{TargetId: "\x00"}), fault.NotFound},
		"no target":                  {try(a.ResolveTarget, &registryv1.ResolveTargetRequest{}), fault.NotFound},
	}
	for name, tt := range tests {
		err := tt.call(registrytest.As(t, w.Admin))
		wantKind(t, name, err, tt.want)
		if len(fault.Message(err)) < 10 {
			t.Errorf("%s says only %q", name, fault.Message(err))
		}
	}
	for name, tt := range tests {
		wantKind(t, name+", by nobody", tt.call(t.Context()), fault.Unauthenticated)
	}
}
