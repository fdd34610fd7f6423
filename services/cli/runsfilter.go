package cli

import (
	"context"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/types/known/timestamppb"

	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
)

// runFilter is which runs the flags of a command name.
type runFilter struct {
	app, workflow, version, status, by, since, until, closedSince, query string
	labels                                                               []string
}

func filterFlags(cmd *cobra.Command, a *access) *runFilter {
	f := &runFilter{}
	flags := cmd.Flags()
	flags.StringVar(&f.app, "app", "", "only of this app: its name or id")
	flags.StringVar(&f.workflow, "workflow", "", "only of this workflow or tool")
	flags.StringVar(&f.version, "version", "", "only of the version with this id")
	flags.StringVar(&f.status, "status", "", "only "+strings.Join(statusWords(), ", "))
	flags.StringVar(&f.by, "by", "", "only what the user with this id started")
	flags.StringArrayVar(&f.labels, "label", nil, "only with this label, as key=value; may be repeated")
	flags.StringVar(&f.since, "since", "", "only what started at this time or later: 2h, 7d or 2026-01-31T12:00:00Z")
	flags.StringVar(&f.until, "until", "", "only what started before this time")
	flags.StringVar(&f.closedSince, "closed-since", "", "only what ended at this time or later")
	flags.StringVar(&f.query, "query", "", "a condition in Temporal's list filter language on top, such as 'HistoryLength > 1000'")
	_ = cmd.RegisterFlagCompletionFunc("app", a.completeApps)
	_ = cmd.RegisterFlagCompletionFunc("workflow", a.completeWorkflows)
	_ = cmd.RegisterFlagCompletionFunc("status", cobra.FixedCompletions(statusWords(), cobra.ShellCompDirectiveNoFileComp))
	return f
}

// message is the filter as the API takes it.
func (f *runFilter) message(ctx context.Context, c *client) (*schedulerv1.RunFilter, error) {
	m := &schedulerv1.RunFilter{Name: f.workflow, VersionId: f.version, StartedBy: f.by, Labels: f.labels, Query: f.query}
	var err error
	if f.app != "" {
		if m.TargetId, err = c.appID(ctx, f.app); err != nil {
			return nil, err
		}
	}
	if f.status != "" {
		if m.Status, err = statusNamed(f.status); err != nil {
			return nil, err
		}
	}
	for _, bound := range []struct {
		flag, text string
		into       **timestamppb.Timestamp
	}{
		{"since", f.since, &m.StartedAfter},
		{"until", f.until, &m.StartedBefore},
		{"closed-since", f.closedSince, &m.ClosedAfter},
	} {
		if *bound.into, err = timeOf(bound.flag, bound.text, time.Now()); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// timeOf reads a time, or how long ago it was.
func timeOf(flag, text string, now time.Time) (*timestamppb.Timestamp, error) {
	if text == "" {
		return nil, nil //nolint:nilnil // no bound
	}
	if at, err := time.Parse(time.RFC3339, text); err == nil {
		return timestamppb.New(at), nil
	}
	if days, ok := strings.CutSuffix(text, "d"); ok {
		if n, err := strconv.Atoi(days); err == nil && n >= 0 {
			return timestamppb.New(now.AddDate(0, 0, -n)), nil
		}
	}
	if ago, err := time.ParseDuration(text); err == nil && ago >= 0 {
		return timestamppb.New(now.Add(-ago)), nil
	}
	return nil, usage("--%s %s: write how long ago (90m, 2h, 7d) or a time (2026-01-31T12:00:00Z)", flag, text)
}

// values are the filter in an address, its members named with prefix.
func values(m *schedulerv1.RunFilter, prefix string) url.Values {
	v := url.Values{}
	set := func(name, value string) {
		if value != "" {
			v.Add(prefix+name, value)
		}
	}
	set("targetId", m.GetTargetId())
	set("name", m.GetName())
	set("versionId", m.GetVersionId())
	set("startedBy", m.GetStartedBy())
	set("query", m.GetQuery())
	if m.GetStatus() != 0 {
		set("status", m.GetStatus().String())
	}
	for _, label := range m.GetLabels() {
		set("labels", label)
	}
	for name, at := range map[string]*timestamppb.Timestamp{
		"startedAfter": m.GetStartedAfter(), "startedBefore": m.GetStartedBefore(), "closedAfter": m.GetClosedAfter(), "closedBefore": m.GetClosedBefore(),
	} {
		if at != nil {
			set(name, at.AsTime().Format(time.RFC3339Nano))
		}
	}
	return v
}
