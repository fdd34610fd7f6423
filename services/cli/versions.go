package cli

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/proto"

	registryv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/registry/v1"
)

// moveLimit is how long a version may take that has to be started first.
const moveLimit = 5 * time.Minute

func newVersions() *cobra.Command {
	cmd := &cobra.Command{
		Use: "versions", Short: "Versions of an app: look at them, compare them, go back to one",
		Long: "Versions of an app. Each deploy makes one; its number and what it is made of never change.\n\n" +
			"VERSION is a number (3, or v3) or an id. Going to another version builds nothing: the version before\nthe live one is kept up for a while, and others are started again from what is kept of them.",
		Example: "  agentcloud versions list hello\n  agentcloud versions diff hello 3 4\n  agentcloud versions rollback hello\n  agentcloud versions promote hello 4",
	}
	a := accessFlags(cmd)
	cmd.AddCommand(newVersionsList(a), newVersionsDescribe(a), newVersionsDiff(a), newVersionsPromote(a), newVersionsRollback(a), newVersionsDelete(a))
	return cmd
}

// onVersions calls a path below an app.
func (a *access) onVersions(ctx context.Context, method, app string, more []string, in, out proto.Message) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	id, err := c.appID(ctx, app)
	if err != nil {
		return err
	}
	path := "/v1/apps/" + url.PathEscape(id)
	for _, part := range more {
		path += "/" + url.PathEscape(part)
	}
	c.http = &http.Client{Timeout: moveLimit}
	return c.call(ctx, method, path, in, out)
}

func newVersionsList(a *access) *cobra.Command {
	cmd := &cobra.Command{
		Use: "list APP", Short: "List the versions of an app, newest first", Args: exactly("APP"), ValidArgsFunction: a.completeVersions(0),
		Example: "  agentcloud versions list hello",
	}
	format := formatFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		all, err := a.allVersions(cmd.Context(), args[0])
		if err != nil {
			return err
		}
		return showMessage(cmd.OutOrStdout(), *format, all, func(out io.Writer) error {
			rows := [][]string{{"VERSION", "STATE", "UP", "DEPLOYED", "LIVE AT", "LIVE BY", "BY", "SOURCE"}}
			for _, v := range all.GetVersions() {
				up := "-"
				if v.GetUp() {
					up = "yes"
				}
				rows = append(rows, []string{
					strconv.FormatInt(v.GetNumber(), 10), versionState(v), up, moment(v.GetCreatedAt()), moment(v.GetLiveAt()), cmp.Or(v.GetLiveBy(), "-"), v.GetCreatorId(), versionSource(v),
				})
			}
			return table(out, rows)
		})
	}
	return cmd
}

// allVersions joins the pages.
func (a *access) allVersions(ctx context.Context, app string) (*registryv1.ListVersionsResponse, error) {
	c, err := a.client()
	if err != nil {
		return nil, err
	}
	id, err := c.appID(ctx, app)
	if err != nil {
		return nil, err
	}
	all := &registryv1.ListVersionsResponse{}
	token := ""
	for range mostPages {
		var page registryv1.ListVersionsResponse
		if err := c.call(ctx, http.MethodGet, "/v1/apps/"+url.PathEscape(id)+"/versions?"+url.Values{"pageToken": {token}}.Encode(), nil, &page); err != nil {
			return nil, err
		}
		all.Versions = append(all.Versions, page.GetVersions()...)
		if token = page.GetNextPageToken(); token == "" {
			break
		}
	}
	return all, nil
}

// versionState is a state as people read it.
func versionState(v *registryv1.Version) string {
	state := strings.ToLower(strings.TrimPrefix(v.GetState().String(), "VERSION_STATE_"))
	switch {
	case v.GetWarmUntil() != nil:
		state += ", kept up until " + v.GetWarmUntil().AsTime().Local().Format(time.TimeOnly)
	case v.GetState() == registryv1.VersionState_VERSION_STATE_READY:
		state += ", waits for promote"
	}
	return state
}

// versionSource is what the deployer said of the source, in short.
func versionSource(v *registryv1.Version) string {
	said := v.GetDeploymentMetadata().GetFields()
	var parts []string
	for _, name := range []string{"branch", "short", "message"} {
		if text := said[name].GetStringValue(); text != "" {
			first, _, _ := strings.Cut(text, "\n")
			parts = append(parts, first)
		}
	}
	if said["dirty"].GetBoolValue() {
		parts = append(parts, "(changed)")
	}
	if len(parts) == 0 {
		return "-"
	}
	return strings.Join(parts, " ")
}

func newVersionsDescribe(a *access) *cobra.Command {
	cmd := &cobra.Command{
		Use: "describe APP VERSION", Short: "Show what a version is made of", Args: exactly("APP", "VERSION"), ValidArgsFunction: a.completeVersions(1),
		Example: "  agentcloud versions describe hello 3",
	}
	format := formatFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		var res registryv1.GetVersionResponse
		if err := a.onVersions(cmd.Context(), http.MethodGet, args[0], []string{"versions", args[1]}, nil, &res); err != nil {
			return err
		}
		return showMessage(cmd.OutOrStdout(), *format, &res, func(out io.Writer) error { return table(out, versionRows(&res)) })
	}
	return cmd
}

// liveAt says when a version was made live, and by whom where that is known.
func liveAt(v *registryv1.Version) string {
	if v.GetLiveBy() == "" {
		return moment(v.GetLiveAt())
	}
	return moment(v.GetLiveAt()) + " by " + v.GetLiveBy()
}

func versionRows(res *registryv1.GetVersionResponse) [][]string {
	v := res.GetVersion()
	rows := [][]string{
		{"version", strconv.FormatInt(v.GetNumber(), 10) + " (" + v.GetVersionId() + ")"},
		{"state", versionState(v)},
		{"deployed", moment(v.GetCreatedAt()) + " by " + v.GetCreatorId()},
		{"live at", liveAt(v)},
		{"source", versionSource(v)},
		{"files", fmt.Sprintf("%d, sha256 %s", res.GetFiles(), v.GetBundleDigest())},
		{"environment", fmt.Sprintf("%d packages, %s", res.GetDependencies(), v.GetEnvironmentDigest())},
		{"open runs", strconv.FormatInt(res.GetOpenRuns(), 10)},
	}
	if v.GetHeld() != "" {
		rows = append(rows, []string{"waits", v.GetHeld()})
	}
	if v.GetError() != "" {
		rows = append(rows, []string{"failed", v.GetError()})
	}
	if c := res.GetToolChanges(); c != nil {
		for _, part := range []struct {
			what  string
			names []string
		}{{"added", c.GetAdded()}, {"removed", c.GetRemoved()}, {"changed", c.GetChanged()}} {
			if len(part.names) > 0 {
				rows = append(rows, []string{fmt.Sprintf("%s since %d", part.what, c.GetThanNumber()), strings.Join(part.names, ", ")})
			}
		}
	}
	for _, tool := range res.GetTools() {
		rows = append(rows, []string{"tool", tool.GetName() + "  " + tool.GetHash()})
	}
	return rows
}

func newVersionsDiff(a *access) *cobra.Command {
	cmd := &cobra.Command{
		Use: "diff APP VERSION OTHER", Short: "Show what differs between two versions: files, dependencies, tools", Args: exactly("APP", "VERSION", "OTHER"),
		ValidArgsFunction: a.completeVersions(2), Example: "  agentcloud versions diff hello 3 4",
	}
	format := formatFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		var res registryv1.DiffVersionsResponse
		if err := a.onVersions(cmd.Context(), http.MethodGet, args[0], []string{"versions", args[1], "diff", args[2]}, nil, &res); err != nil {
			return err
		}
		return showMessage(cmd.OutOrStdout(), *format, &res, func(out io.Writer) error { return versionDiff(out, &res) })
	}
	return cmd
}

var changeWords = map[registryv1.Change]string{
	registryv1.Change_CHANGE_ADDED: "added", registryv1.Change_CHANGE_REMOVED: "removed", registryv1.Change_CHANGE_CHANGED: "changed",
}

func versionDiff(out io.Writer, d *registryv1.DiffVersionsResponse) error {
	var rows [][]string
	for _, f := range d.GetFiles() {
		rows = append(rows, []string{"file", changeWords[f.GetChange()], f.GetPath(), fmt.Sprintf("%d → %d bytes", f.GetBytesBefore(), f.GetBytesAfter())})
	}
	for _, p := range d.GetDependencies() {
		rows = append(rows, []string{"dependency", changeWords[p.GetChange()], p.GetName(), strings.TrimSpace(p.GetBefore() + " → " + p.GetAfter())})
	}
	for _, t := range d.GetTools() {
		rows = append(rows, []string{"tool", changeWords[t.GetChange()], t.GetName()})
	}
	for _, note := range d.GetNotes() {
		rows = append(rows, []string{"note", note})
	}
	if len(rows) == 0 {
		return say("versions %d and %d have the same files, dependencies and tools", d.GetVersion().GetNumber(), d.GetOther().GetNumber())(out)
	}
	return table(out, rows)
}

func newVersionsPromote(a *access) *cobra.Command {
	cmd := &cobra.Command{
		Use: "promote APP VERSION", Short: "Make a version the live one", Args: exactly("APP", "VERSION"), ValidArgsFunction: a.completeVersions(1),
		Long: "Make a version the live one. Nothing is built. A version whose processes are gone is started first, and becomes\n" +
			"live only when it is healthy. Runs go on with the version that they began on.",
		Example: "  agentcloud versions promote hello 4",
	}
	format := formatFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		var res registryv1.PromoteVersionResponse
		err := a.onVersions(cmd.Context(), http.MethodPost, args[0], []string{"versions", args[1], "promote"}, &registryv1.PromoteVersionRequest{}, &res)
		if err != nil {
			return err
		}
		return showMessage(cmd.OutOrStdout(), *format, &res, say("version %d of %s is live", res.GetVersion().GetNumber(), args[0]))
	}
	return cmd
}

func newVersionsRollback(a *access) *cobra.Command {
	cmd := &cobra.Command{
		Use: "rollback APP [VERSION]", Short: "Make the version live that was so before, or any earlier one", ValidArgsFunction: a.completeVersions(1),
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 || len(args) == 2 {
				return nil
			}
			return usage("write `%s`", cmd.UseLine())
		},
		Long: "Make the version live that was so before the live one, or the one that is named. Nothing is built.\n" +
			"A second rollback without a version goes forward again, for that was live before the first.",
		Example: "  agentcloud versions rollback hello\n  agentcloud versions rollback hello 2",
	}
	format := formatFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		req := &registryv1.RollbackAppRequest{}
		if len(args) == 2 {
			req.Version = args[1]
		}
		var res registryv1.RollbackAppResponse
		if err := a.onVersions(cmd.Context(), http.MethodPost, args[0], []string{"rollback"}, req, &res); err != nil {
			return err
		}
		return showMessage(cmd.OutOrStdout(), *format, &res, say("version %d of %s is live", res.GetVersion().GetNumber(), args[0]))
	}
	return cmd
}

func newVersionsDelete(a *access) *cobra.Command {
	cmd := &cobra.Command{
		Use: "delete APP VERSION", Short: "Delete a version that nothing needs, with its files", Args: exactly("APP", "VERSION"), ValidArgsFunction: a.completeVersions(1),
		Long:    "Delete a version that is not live and that no open run began on. Its files go with the next collection of garbage;\nits number is not used again.",
		Example: "  agentcloud versions delete hello 2",
	}
	format := formatFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		var res registryv1.DeleteVersionResponse
		if err := a.onVersions(cmd.Context(), http.MethodDelete, args[0], []string{"versions", args[1]}, nil, &res); err != nil {
			return err
		}
		return showMessage(cmd.OutOrStdout(), *format, &res, say("version %d of %s is deleted", res.GetVersion().GetNumber(), args[0]))
	}
	return cmd
}

// completeVersions offers apps first, and then so many of the app's versions.
func (a *access) completeVersions(versions int) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
		if len(args) == 0 {
			return a.completeApps(cmd, args, begun)
		}
		if len(args) > versions {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return a.choose(cmd, func(ctx context.Context, c *client) ([]string, error) {
			id, err := c.appID(ctx, args[0])
			if err != nil {
				return nil, err
			}
			var res registryv1.ListVersionsResponse
			if err := c.call(ctx, http.MethodGet, "/v1/apps/"+url.PathEscape(id)+"/versions?pageSize=50", nil, &res); err != nil {
				return nil, err
			}
			var choices []string
			for _, v := range res.GetVersions() {
				if number := strconv.FormatInt(v.GetNumber(), 10); strings.HasPrefix(number, begun) {
					choices = append(choices, number+"\t"+versionState(v))
				}
			}
			return choices, nil
		})
	}
}
