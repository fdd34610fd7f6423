package e2e

import (
	"context"
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

const pageLimit = 60 * time.Second

// findBrowser finds Debian's Chromium.
func findBrowser(t *testing.T) string {
	t.Helper()
	path, err := exec.LookPath("chromium")
	if err != nil {
		missing(t, "%v: `make setup` installs it on Debian", err)
	}
	return path
}

// page is a page in a browser without a window.
type page struct {
	t   *testing.T
	ctx context.Context //nolint:containedctx // chromedp's browser
}

// visit opens a page.
func visit(t *testing.T, browser, url string) *page {
	t.Helper()
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(browser), chromedp.NoSandbox, chromedp.UserDataDir(t.TempDir()))
	ctx, endAll := chromedp.NewExecAllocator(context.Background(), options...)
	t.Cleanup(endAll)
	ctx, end := chromedp.NewContext(ctx)
	t.Cleanup(end)
	p := &page{t, ctx}
	run(p, chromedp.Navigate(url)) // the browser lives as long as its first context
	run(p, chromedp.WaitVisible("main"))
	return p
}

// run runs an action that must succeed.
func run[T any](p *page, action chromedp.Action[T]) T {
	p.t.Helper()
	value, err := chromedp.Run(p.ctx, action)
	if err != nil {
		p.t.Fatal(err)
	}
	return value
}

// isAccessible checks what a screen reader needs first (WCAG 2.2: 2.4.2, 3.1.1, 3.3.2).
func (p *page) isAccessible() {
	p.t.Helper()
	for what, script := range map[string]string{
		"a language":                    `document.documentElement.lang !== ""`,
		"a title":                       `document.title !== ""`,
		"one heading of the first rank": `document.querySelectorAll("h1").length === 1`,
		"a label for each input":        `[...document.querySelectorAll("input")].every(i => i.labels.length > 0 && i.labels[0].innerText.trim() !== "")`,
		"buttons with names":            `[...document.querySelectorAll("button")].every(b => b.innerText.trim() !== "")`,
		"a main part":                   `document.querySelectorAll("main").length === 1`,
	} {
		if !run(p, chromedp.Evaluate[bool](script)) {
			p.t.Errorf("the page lacks %s", what)
		}
	}
}

// keys presses keys where the focus is.
func (p *page) keys(all ...string) {
	p.t.Helper()
	for _, keys := range all {
		run(p, chromedp.KeyEvent(keys))
	}
}

// says waits until the page's main part has a text.
func (p *page) says(text string) {
	p.t.Helper()
	eventually(p.t, pageLimit, func() error {
		said, err := chromedp.Run(p.ctx, chromedp.Text("main"))
		if err == nil && !strings.Contains(said, text) {
			err = fmt.Errorf("the page says %s", said)
		}
		return err
	})
}

// again loads the page's address anew.
func (p *page) again() {
	p.t.Helper()
	run(p, chromedp.Navigate(run(p, chromedp.Location())))
}
