package projectfile_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mcpagentcloud/agentcloud/pkg/projectfile"
)

const whole = `# what the cloud does with this project
schedules:
  nightly:
    workflow: Report
    arguments: {days: 1, deep: true}
    cron: "30 6 * * MON-FRI"
    time_zone: Europe/Berlin
    jitter: 30s
    overlap: buffer-one
    catchup: 7d
  often:
    workflow: add
    interval: 15m
    start: 2027-01-01T00:00:00Z
    limit: 10
    paused: true
    note: until the other side is up
  mixed:
    workflow: Report
    cron: ["@daily", "0 12 * * *"]
    interval: [{every: 1h, offset: 5m}]
    calendar: {hour: 9, day_of_week: MON}
    except: [{month: DEC, day_of_month: "24-26", hour: "*"}]
    pause_on_failure: true
`

func TestParse(t *testing.T) {
	t.Parallel()
	d, err := projectfile.Parse([]byte(whole))
	if err != nil {
		t.Fatal(err)
	}
	want := projectfile.File{Schedules: map[string]projectfile.Schedule{
		"nightly": {
			Workflow: "Report", Arguments: []byte(`{"days":1,"deep":true}`), Cron: []string{"30 6 * * MON-FRI"},
			TimeZone: "Europe/Berlin", Jitter: "30s", Overlap: "buffer-one", Catchup: "7d",
		},
		"often": {
			Workflow: "add", Interval: []projectfile.Interval{{Every: "15m"}}, Start: time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC),
			Limit: 10, Paused: true, Note: "until the other side is up",
		},
		"mixed": {
			Workflow: "Report", Cron: []string{"@daily", "0 12 * * *"}, Interval: []projectfile.Interval{{Every: "1h", Offset: "5m"}},
			Calendar: []projectfile.Calendar{{Hour: "9", DayOfWeek: "MON"}},
			Except:   []projectfile.Calendar{{Month: "DEC", DayOfMonth: "24-26", Hour: "*"}}, PauseOnFailure: true,
		},
	}}
	if diff := cmp.Diff(want, d.File); diff != "" {
		t.Errorf("Parse() (-want +got):\n%s", diff)
	}
	again, err := projectfile.Decode(d.JSON)
	if diff := cmp.Diff(want, again); diff != "" || err != nil {
		t.Errorf("Decode(JSON) = %v (-want +got):\n%s", err, diff)
	}
	if line := projectfile.LineOf(d.Lines, "schedules.nightly.arguments.days.deeper"); line != 5 {
		t.Errorf("LineOf() = %d, want 5", line)
	}
}

func TestParseFindsMistakes(t *testing.T) {
	t.Parallel()
	// schedule is a schedule with one more line, which is line 5.
	schedule := func(line string) string {
		return "schedules:\n  one:\n    workflow: Report\n    interval: 1h\n    " + line + "\n"
	}
	tests := map[string]struct {
		text string
		want []string
	}{
		"sidecars":               {text: "sidecars:\n  My Server: {shared: false, memory_mb: 64, cpus: 0.5, processes: 10}\n"},
		"a sidecar too small":    {text: "sidecars:\n  a:\n    memory_mb: 1\n", want: []string{"line 3: sidecars.a.memory_mb"}},
		"a sidecar's new word":   {text: "sidecars:\n  a: {own: true}\n", want: []string{"line 2: sidecars.a.own: this field is not known"}},
		"nothing at all":         {text: ""},
		"only a remark":          {text: "# later\n"},
		"no YAML":                {text: "schedules: [", want: []string{"line 1", "no valid YAML"}},
		"a list":                 {text: "- a\n", want: []string{"line 1", "must be a mapping"}},
		"an unknown section":     {text: "\nschedule: {}\n", want: []string{"agentcloud.yaml line 2: schedule: this field is not known"}},
		"an unknown field":       {text: schedule("cronn: x"), want: []string{"line 5: schedules.one.cronn: this field is not known"}},
		"no workflow":            {text: "schedules:\n  one:\n    interval: 1h\n", want: []string{"line 2: schedules.one: these fields are missing: workflow"}},
		"never due":              {text: "schedules:\n  one:\n    workflow: Report\n", want: []string{"line 2: schedules.one: say when it is due"}},
		"a bad cron":             {text: schedule(`cron: "61 * * * *"`), want: []string{"line 5: schedules.one.cron", `"61 * * * *" is no cron expression`}},
		"a bad cron of two":      {text: schedule("cron:\n      - '@daily'\n      - never"), want: []string{"line 7: schedules.one.cron.1"}},
		"a bad zone":             {text: schedule("time_zone: Europe/Atlantis"), want: []string{"line 5: schedules.one.time_zone", "Europe/Atlantis"}},
		"a bad span":             {text: schedule("jitter: soon"), want: []string{"line 5: schedules.one.jitter", "30s"}},
		"a bad interval":         {text: "schedules:\n  one:\n    workflow: R\n    interval: {every: often}\n", want: []string{"line 4: schedules.one.interval.every", "30s"}},
		"a bad policy":           {text: schedule("overlap: never"), want: []string{"line 5: schedules.one.overlap", "'buffer-one'"}},
		"a bad calendar":         {text: schedule("calendar: {hour: 25}"), want: []string{"line 5: schedules.one.calendar", "maximum (23)"}},
		"a bad name":             {text: "schedules:\n  Big One:\n    workflow: R\n    interval: 1h\n", want: []string{"line 2: schedules.Big One: names have small letters"}},
		"a bad date":             {text: schedule("start: tomorrow"), want: []string{"line 5: schedules.one.start", "date-time"}},
		"ends before it starts":  {text: schedule("start: 2027-01-02T00:00:00Z\n    end: 2027-01-01T00:00:00Z"), want: []string{"line 6: schedules.one.end", "ends before it starts"}},
		"policies of deploys":    {text: "deploy: {promote: manual, changed_tools: ask}\n"},
		"nobody promotes":        {text: "deploy:\n  promote: never\n", want: []string{"line 2: deploy.promote", "'manual'"}},
		"no answer to changes":   {text: "deploy:\n  changed_tools: refuse\n", want: []string{"line 2: deploy.changed_tools", "'ask'"}},
		"smoke calls":            {text: "smoke:\n- {tool: ping}\n- {tool: add, arguments: {a: 1}, timeout: 5s, expect: {path: result.0, equals: [1], is_error: false}}\n"},
		"a smoke call of none":   {text: "smoke:\n- arguments: {}\n", want: []string{"line 2: smoke.0: these fields are missing: tool"}},
		"a smoke call too long":  {text: "smoke:\n- tool: ping\n  timeout: 1h\n", want: []string{"line 3: smoke.0.timeout", "up to 2m0s"}},
		"a path to nothing":      {text: "smoke:\n- tool: ping\n  expect: {path: result}\n", want: []string{"line 3: smoke.0.expect", "equals"}},
		"a rollout":              {text: "deploy: {rollout: {steps: [{weight: 5%, wait: 5m}, {weight: 0.5%, wait: 0s}], match: [{header: X-Beta}]}}\n", want: []string{"less than the step before"}},
		"a rollout of all":       {text: "deploy: {rollout: {steps: [{weight: 5%, wait: 5m}, {weight: 100%, wait: 1h30m}], match: [{caller: u_1}], max_error_rate: 0.5%}}\n"},
		"a rollout of nothing":   {text: "deploy:\n  rollout: {min_calls: 5}\n", want: []string{"line 2: deploy.rollout: these fields are missing: steps"}},
		"a share of too much":    {text: "deploy:\n  rollout:\n    steps: [{weight: 101%, wait: 5m}]\n", want: []string{"line 3: deploy.rollout.steps.0.weight"}},
		"a value of no header":   {text: "deploy:\n  rollout:\n    steps: [{weight: 1%, wait: 5m}]\n    match: [{value: 5, caller: u_1}]\n", want: []string{"line 4: deploy.rollout.match.0"}},
		"a rollout's bad span":   {text: "deploy:\n  rollout:\n    steps: [{weight: 1%, wait: soon}]\n", want: []string{"line 3: deploy.rollout.steps.0.wait", "30s"}},
		"a priority too low":     {text: "runs:\n  Report:\n    priority: 6\n", want: []string{"line 3: runs.Report.priority", "5"}},
		"nothing said of runs":   {text: "runs:\n  Report: {}\n", want: []string{"line 2: runs.Report"}},
		"a star in between":      {text: "retries:\n  'a*b':\n    max_attempts: 2\n", want: []string{"line 2: retries.a*b: write the name of a step"}},
		"attempts that are none": {text: "retries:\n  fetch:\n    max_attempts: 0\n", want: []string{"line 3: retries.fetch.max_attempts"}},
		"a retry's bad span":     {text: "retries:\n  lib.fetch:\n    heartbeat: soon\n", want: []string{"line 3: retries.lib.fetch.heartbeat", "30s"}},
		"a retry's short span":   {text: "retries:\n  '*':\n    start_to_close: 0s\n", want: []string{"line 3: retries.*.start_to_close", "too short"}},
		"an idle time":           {text: "scale:\n  idle: 90s\n"},
		"never asleep":           {text: "scale: {idle: never}\n"},
		"a bad idle time":        {text: "scale:\n  idle: soon\n", want: []string{"line 2: scale.idle", "30s"}},
		"a short idle time":      {text: "scale:\n  idle: 10ms\n", want: []string{"line 2: scale.idle", "too short"}},
		"processes":              {text: "scale: {min: 0, max: 3, concurrency: 10}\n"},
		"processes always":       {text: "scale: {min: 2, idle: never}\n"},
		"less than the least":    {text: "scale:\n  min: 3\n  max: 2\n", want: []string{"line 3: scale.max", "at most 2, and at least 3"}},
		"more for how many":      {text: "scale:\n  max: 2\n", want: []string{"line 2: scale.max", "say concurrency"}},
		"always, and asleep":     {text: "scale:\n  min: 1\n  idle: 5m\n", want: []string{"line 3: scale.idle", "never sleeps"}},
		"less than no process":   {text: "scale:\n  min: -1\n", want: []string{"line 2: scale.min"}},
		"a limit of none":        {text: schedule("limit: 0"), want: []string{"line 5: schedules.one.limit"}},
		"a name twice":           {text: schedule("interval: 2h"), want: []string{"line 5: schedules.one.interval: this name is there twice"}},
		"arguments that are one": {text: schedule("arguments: 5"), want: []string{"line 5: schedules.one.arguments", "object"}},
		"a tag":                  {text: schedule("note: !secret x"), want: []string{"line 5", "!secret"}},
		"two mistakes":           {text: schedule("overlap: never\n    jitter: soon"), want: []string{"line 5: schedules.one.overlap", "line 6: schedules.one.jitter"}},
		"aliases without end": {
			text: "a: &a [x, x, x, x, x, x, x, x, x, x]\nb: &b [*a, *a, *a, *a, *a, *a, *a, *a]\nc: &c [*b, *b, *b, *b, *b, *b, *b, *b]\nd: &d [*c, *c, *c, *c, *c, *c]\ne: [*d, *d, *d, *d, *d, *d]\n",
			want: []string{"aliases written out"},
		},
		"too large": {text: "# " + strings.Repeat("x", 300<<10), want: []string{"256 KiB"}},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			t.Parallel()
			_, err := projectfile.Parse([]byte(tt.text))
			if len(tt.want) == 0 && err != nil || len(tt.want) > 0 && err == nil {
				t.Fatalf("Parse(%q) = %v, want %q", tt.text, err, tt.want)
			}
			for _, want := range tt.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("Parse(%q) = %v, want %q in it", tt.text, err, want)
				}
			}
		})
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(whole))
	f.Add([]byte("a: &a [*a]"))
	f.Fuzz(func(t *testing.T, text []byte) {
		d, err := projectfile.Parse(text)
		if err != nil {
			return
		}
		if _, err := projectfile.Decode(d.JSON); err != nil {
			t.Errorf("Decode() of what Parse(%q) took = %v", text, err)
		}
	})
}
