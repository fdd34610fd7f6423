// Package logs answers questions about log lines: those that are stored, and those
// that are being written.
//
// It decides nothing about who may see an app; it keeps organisations apart.
package logs

import (
	"context"
	"fmt"
	"log/slog"
	"regexp"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/pkg/principal"
	busv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/bus/v1"
	telemetryv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/telemetry/v1"
	"github.com/mcpagentcloud/agentcloud/services/telemetry/internal/store"
)

const (
	defaultLimit = 100
	maxLimit     = 10_000
	// maxAnswer keeps an answer below what one message between rooms may have.
	maxAnswer = 12 << 20
	maxText   = 1000
)

// A Store finds lines. *store.Store is one.
type Store interface {
	Find(ctx context.Context, q store.Query) ([]store.Line, error)
}

// Deps is everything a Service needs from outside.
type Deps struct {
	Store Store
	// CatchUp waits until the lines that a target's publishers were told are stored
	// can be found.
	CatchUp func(ctx context.Context, target string) error
	// CatchUpLimit bounds that wait.
	CatchUpLimit time.Duration
	Live         *Live
	Log          *slog.Logger
	Now          func() time.Time
}

// Service answers GetAppLogs and TailLogs.
type Service struct {
	telemetryv1.UnimplementedLogsServiceServer
	deps Deps
}

// NewService returns a Service on deps, which must be complete.
func NewService(deps Deps) *Service { return &Service{deps: deps} }

// GetAppLogs finds lines of an app or configuration.
func (s *Service) GetAppLogs(ctx context.Context, req *telemetryv1.GetAppLogsRequest) (*telemetryv1.GetAppLogsResponse, error) {
	q, err := s.query(ctx, req)
	if err != nil {
		return nil, err
	}
	s.catchUp(ctx, q.TargetID)
	lines, err := s.deps.Store.Find(ctx, q)
	if err != nil {
		return nil, err
	}
	res := &telemetryv1.GetAppLogsResponse{LogEntries: make([]*telemetryv1.LogEntry, 0, len(lines))}
	for _, l := range lines {
		res.LogEntries = append(res.LogEntries, entry(l))
	}
	return res, nil
}

// catchUp lets a reader see what its own agent has just written. Lines that are
// stored are better than none, so a wait that is too long is only noted.
func (s *Service) catchUp(ctx context.Context, target string) {
	limited, cancel := context.WithTimeout(ctx, s.deps.CatchUpLimit)
	defer cancel()
	if err := s.deps.CatchUp(limited, target); err != nil && ctx.Err() == nil {
		s.deps.Log.WarnContext(ctx, "the newest lines may be missing from an answer", "target", target, "error", err)
	}
}

func (s *Service) query(ctx context.Context, req *telemetryv1.GetAppLogsRequest) (store.Query, error) {
	org, err := organisation(ctx)
	if err != nil {
		return store.Query{}, err
	}
	target, err := oneTarget(req.GetAppId(), req.GetAppConfigurationId())
	if err != nil {
		return store.Query{}, err
	}
	since, err := parseSince(req.GetSince(), s.deps.Now())
	if err != nil {
		return store.Query{}, err
	}
	limit := int(req.GetLimit())
	switch {
	case limit < 0:
		return store.Query{}, fault.Invalid.Errorf("the limit is %d; it must not be below zero", limit)
	case limit == 0:
		limit = defaultLimit
	}
	if len(req.GetContains()) > maxText || len(req.GetRunId()) > maxText {
		return store.Query{}, fault.Invalid.Errorf("the text to look for is longer than %d bytes", maxText)
	}
	return store.Query{
		OrgID: org, TargetID: target, Since: since, RunID: req.GetRunId(), Contains: req.GetContains(), MinLevel: req.GetMinLevel(),
		ByLevel:   req.GetOrderBy() == telemetryv1.LogOrderBy_LOG_ORDER_BY_LEVEL,
		Ascending: req.GetOrder() == telemetryv1.LogOrder_LOG_ORDER_ASC,
		Limit:     min(limit, maxLimit), Bytes: maxAnswer,
	}, nil
}

func organisation(ctx context.Context) (string, error) {
	if org := principal.From(ctx).OrgID; org != "" {
		return org, nil
	}
	return "", fault.Unauthenticated.Errorf("log lines belong to an organisation; sign in")
}

var targetPattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]{0,199}$`)

func oneTarget(app, configuration string) (string, error) {
	if (app == "") == (configuration == "") {
		return "", fault.Invalid.Errorf("give the id of either an app or a configuration")
	}
	return checkTarget(app + configuration)
}

// checkTarget also keeps wildcards out of subjects.
func checkTarget(target string) (string, error) {
	if !targetPattern.MatchString(target) {
		return "", fault.Invalid.Errorf("%.80q is no id of an app or configuration", target)
	}
	return target, nil
}

var sincePart = regexp.MustCompile(`^(\d{1,9})\s*(s|m|h|d|w)`)

var units = map[string]time.Duration{"s": time.Second, "m": time.Minute, "h": time.Hour, "d": 24 * time.Hour, "w": 7 * 24 * time.Hour}

// parseSince reads "1h", "1h30m" or an RFC 3339 time. Empty means as far as kept.
func parseSince(text string, now time.Time) (time.Time, error) {
	text = strings.ToLower(strings.TrimSpace(text))
	if text == "" {
		return time.Time{}, nil
	}
	if at, err := time.Parse(time.RFC3339, strings.ToUpper(text)); err == nil {
		return at, nil
	}
	var back time.Duration
	for rest := text; rest != ""; {
		m := sincePart.FindStringSubmatch(rest)
		if m == nil {
			return time.Time{}, fault.Invalid.Errorf("since %.40q is no duration; write a number and s, m, h, d or w, for example 1h", text)
		}
		n, err := strconv.Atoi(m[1])
		if err != nil || time.Duration(n) > (1<<62)/units[m[2]] {
			return time.Time{}, nil //nolint:nilerr // further back than anything is kept
		}
		back += time.Duration(n) * units[m[2]]
		rest = rest[len(m[0]):]
		if back < 0 {
			return time.Time{}, nil
		}
	}
	return now.Add(-back), nil
}

// entry is a line as the public command line reads it: no field may be missing.
func entry(l store.Line) *telemetryv1.LogEntry {
	return &telemetryv1.LogEntry{
		Timestamp: timestamppb.New(l.Time), Level: level(l.Level), Message: withDropped(l.Message, l.DroppedBefore),
		Logger: l.Logger, Source: l.Source.String(), RunId: l.RunID, VersionId: l.VersionID,
	}
}

func level(l busv1.LogLevel) string {
	if _, known := busv1.LogLevel_name[int32(l)]; !known || l == busv1.LogLevel_LOG_LEVEL_UNSPECIFIED {
		l = busv1.LogLevel_LOG_LEVEL_INFO
	}
	return l.String()
}

// withDropped shows that lines are missing, where they are missing.
func withDropped(message string, dropped int64) string {
	if dropped <= 0 {
		return message
	}
	return fmt.Sprintf("[%d lines before this one were dropped] %s", dropped, message)
}
