package e2e

import (
	"bytes"
	"database/sql"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mcpagentcloud/agentcloud/pkg/id"
	_ "github.com/mcpagentcloud/agentcloud/pkg/sqldb" // it brings the driver
)

const (
	sleepBegin = "<!-- sleep, measured by make bench -->"
	wakes      = 20
	sleepers   = 500
	// deepSleep is from the end of an app's processes to the call, so that what is left to
	// do for their end is not part of the wake.
	deepSleep = time.Second
	// wakeAim is that of the median; p95 may be twice as much.
	wakeAim = 300 * time.Millisecond
)

// TestSleepNumbers measures how long a call takes that wakes its app, beside a plain start
// of the same app, and what many apps cost that sleep.
func TestSleepNumbers(t *testing.T) {
	if os.Getenv("AGENTCLOUD_BENCH") == "" {
		t.Skip("`make bench` runs this")
	}
	v := newVictim(t, findTools(t), "--log-level", "info", "--set", "scheduler.deploy.keep_warm=0s")
	if err := os.WriteFile(filepath.Join(v.project, "agentcloud.yaml"), []byte("scale: {idle: 1s}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	v.deploy(nil)
	var here struct{ App string }
	v.get(strings.TrimSuffix(v.endpoint().url, "/mcp"), &here)
	report(t, append(v.wakeTimes(here.App), v.idleCost(here.App)...), sleepBegin)
}

// wakeTimes calls an app that sleeps, again and again.
func (v *victim) wakeTimes(app string) []figure {
	to := v.endpoint()
	var took []time.Duration
	for range wakes {
		v.untilAsleep(app)
		time.Sleep(deepSleep)
		began := time.Now()
		v.firstAnswer(to)
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	median, late := took[len(took)/2], took[len(took)*95/100]
	var answer struct{ Versions []struct{ VersionID string } }
	v.get(v.cloud.url+"/api/v1/apps/"+app+"/versions", &answer)
	plain := v.stepTook(answer.Versions[0].VersionID, "start of the agent")
	v.t.Logf("wakes %s; start %s", took, plain)
	return []figure{{
		"from zero processes to the first answer through the gateway: median, p95 of 20; beside it the start of server and worker in a deploy",
		fmt.Sprintf("%s, %s; %s", seconds(median), seconds(late), seconds(plain)), "0.3 s, 0.6 s", median <= wakeAim && late <= 2*wakeAim,
	}}
}

// untilAsleep waits until the app has no process.
func (v *victim) untilAsleep(app string) {
	v.t.Helper()
	eventually(v.t, time.Minute, func() error {
		var answer struct{ Agents []struct{ State string } }
		v.get(v.cloud.url+"/api/v1/apps/"+app+"/agents", &answer)
		for _, a := range answer.Agents {
			if a.State != "AGENT_STATE_ASLEEP" {
				return fmt.Errorf("an agent is %s", a.State)
			}
		}
		return nil
	})
}

// firstAnswer begins a session and makes a call.
func (v *victim) firstAnswer(to endpoint) {
	v.t.Helper()
	session := ""
	for _, message := range []string{
		`{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"a","version":"1"}}}`,
		`{"jsonrpc":"2.0","method":"notifications/initialized"}`,
		`{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"version","arguments":{}}}`,
	} {
		req, err := http.NewRequestWithContext(v.t.Context(), http.MethodPost, to.url, strings.NewReader(message))
		if err != nil {
			v.t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+to.key)
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Accept", "application/json, text/event-stream")
		if session != "" {
			req.Header.Set("Mcp-Session-Id", session)
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			v.t.Fatal(err)
		}
		body, err := io.ReadAll(res.Body)
		_ = res.Body.Close()
		if err != nil || res.StatusCode >= http.StatusBadRequest || bytes.Contains(body, []byte(`"error"`)) {
			v.t.Fatalf("%s = %s %s, %v", message, res.Status, body, err)
		}
		session = res.Header.Get("Mcp-Session-Id") + session
	}
}

// idleCost compares the cloud's memory with and without many apps that sleep, each a copy
// of the one there is.
func (v *victim) idleCost(app string) []figure {
	v.untilAsleep(app)
	v.cloud.stop(v.t)
	alone := v.settledMemory()
	v.cloud.stop(v.t)
	copied := v.copies(app)
	many := v.settledMemory()
	var answer struct{ Agents []struct{ State string } }
	v.get(v.cloud.url+"/api/v1/apps/"+copied[0]+"/agents", &answer)
	if len(answer.Agents) == 0 || answer.Agents[0].State != "AGENT_STATE_ASLEEP" {
		v.t.Fatalf("a copy does not sleep: %+v", answer)
	}
	return []figure{{
		"memory of 500 apps that sleep (proportional set size of agentcloud and temporald, against one app)",
		fmt.Sprintf("%d MB (%d MB to %d MB)", many-alone, alone, many), "under 50 MB", many-alone < 50,
	}}
}

// settledMemory starts the cloud and is its memory some time after.
func (v *victim) settledMemory() int {
	v.t.Helper()
	v.cloud.start(v.t)
	time.Sleep(20 * time.Second) // what a start needs has been given back
	return v.cloud.memoryMB(v.t)
}

// copies writes rows of more apps beside those of one, while the cloud is down.
func (v *victim) copies(app string) (copied []string) {
	v.t.Helper()
	registry, scheduler := v.database("registry"), v.database("scheduler")
	var live string
	var port int
	err := scheduler.QueryRow(`SELECT live_version FROM targets WHERE target_id = ?`, app).Scan(&live)
	if err == nil {
		err = registry.QueryRow(`SELECT port FROM addresses WHERE target_id = ?`, app).Scan(&port)
	}
	if err != nil {
		v.t.Fatal(err)
	}
	long := time.Now().Add(-time.Hour)
	for i := range sleepers {
		one, version := id.App.New(), id.Version.New()
		copied = append(copied, one)
		swap := strings.NewReplacer(app, one, live, version)
		v.copyRows(registry, "apps", "app_id", app, swap, map[string]any{"name": fmt.Sprintf("copy-%d", i)})
		v.copyRows(registry, "addresses", "target_id", app, swap, map[string]any{"port": port + 1000 + i})
		v.copyRows(scheduler, "targets", "target_id", app, swap, nil)
		v.copyRows(scheduler, "sleepers", "target_id", app, swap, map[string]any{"since": long.UnixMilli()})
		v.copyRows(scheduler, "versions", "version_id", live, swap, nil)
	}
	return copied
}

func (v *victim) database(room string) *sql.DB {
	v.t.Helper()
	db, err := sql.Open("sqlite", filepath.Join(v.cloud.data, room, room+".db"))
	if err != nil {
		v.t.Fatal(err)
	}
	v.t.Cleanup(func() { _ = db.Close() })
	return db
}

// copyRows inserts what a table has of a key again, with other ids and some other values.
func (v *victim) copyRows(db *sql.DB, table, column, key string, swap *strings.Replacer, other map[string]any) {
	v.t.Helper()
	columns, all, err := readRows(db, `SELECT * FROM `+table+` WHERE `+column+` = ?`, key)
	for _, values := range all {
		for i, value := range values {
			if text, ok := value.(string); ok {
				values[i] = swap.Replace(text)
			}
			if set, ok := other[columns[i]]; ok {
				values[i] = set
			}
		}
		if err == nil {
			_, err = db.Exec(`INSERT INTO `+table+` VALUES (?`+strings.Repeat(`, ?`, len(values)-1)+`)`, values...) //nolint:gosec // names of the test
		}
	}
	if err != nil {
		v.t.Fatalf("copy %s: %v", table, err)
	}
}

func readRows(db *sql.DB, query, key string) (columns []string, all [][]any, err error) {
	rows, err := db.Query(query, key)
	if err != nil {
		return nil, nil, err
	}
	defer rows.Close() //nolint:errcheck // rows.Err says what went wrong
	if columns, err = rows.Columns(); err != nil {
		return nil, nil, err
	}
	for rows.Next() {
		values, into := make([]any, len(columns)), make([]any, len(columns))
		for i := range values {
			into[i] = &values[i]
		}
		if err := rows.Scan(into...); err != nil {
			return nil, nil, err
		}
		all = append(all, values)
	}
	return columns, all, rows.Err()
}
