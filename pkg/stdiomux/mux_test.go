package stdiomux_test

import (
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/mcpagentcloud/agentcloud/pkg/stdiomux"
)

func TestAHandshakeIsMadeOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t, stdiomux.Options{})
	first, second := w.attach(), w.attach()
	first.say(hello(`{}`))
	second.say(hello(allCapabilities))
	p := w.serve("exit code 0") // both came before the process
	params := p.welcome()["params"].(map[string]any)
	if got, want := asJSON(params["capabilities"]), `{"elicitation":{},"roots":{"listChanged":true},"sampling":{}}`; got != want {
		t.Errorf("the process was told of the capabilities %s, want %s", got, want)
	}
	if asJSON(params["clientInfo"]) != `{"name":"c"}` {
		t.Errorf("the process was told %s", asJSON(params))
	}
	for _, c := range []*end{first, second, w.attach()} {
		if c != first && c != second {
			c.say(hello(`{}`))
		}
		got := c.want(rpc{"id": "hello", "result": nil})
		if !strings.Contains(asJSON(got), `"name":"echo"`) {
			t.Errorf("a client was told %s", asJSON(got))
		}
	}
	p.silent()
}

func TestCallsHaveIDsOfTheirOwn(t *testing.T) {
	t.Parallel()
	w := newWorld(t, stdiomux.Options{})
	p := w.serve("")
	clients := w.greeted(p, 2, `{}`)
	clients[0].say(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","_meta":{"progressToken":"same","other":1}}}`)
	one := p.want(rpc{"method": "tools/call"})
	clients[1].say(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"b","_meta":{"progressToken":"same"}}}`)
	two := p.want(rpc{"method": "tools/call"})
	if one["id"] == two["id"] {
		t.Fatalf("both calls have the id %v", one["id"])
	}
	token := func(call rpc) any {
		return call["params"].(map[string]any)["_meta"].(map[string]any)["progressToken"]
	}
	if token(one) == token(two) {
		t.Fatalf("both calls have the progress token %v", token(one))
	}
	p.say(fmt.Sprintf(`{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":%v,"progress":7}}`, token(two)))
	clients[1].want(rpc{"method": "notifications/progress", "params": rpc{"progressToken": "same", "progress": 7}})
	// The later call is answered first, by an answer of any shape.
	p.say(fmt.Sprintf(`{"result":{"text":"b <>"},"jsonrpc":"2.0","id":%v}`, two["id"]))
	clients[1].want(rpc{"id": 1, "result": rpc{"text": "b <>"}})
	p.say(fmt.Sprintf(`{"jsonrpc":"2.0","id":%v,"error":{"code":-5,"message":"no"}}`, one["id"]))
	clients[0].want(rpc{"id": 1, "error": rpc{"code": -5, "message": "no"}})
	// What is over has no progress and no second answer.
	p.say(fmt.Sprintf(`{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":%v,"progress":8}}`, token(two)))
	p.say(fmt.Sprintf(`{"jsonrpc":"2.0","id":%v,"result":{}}`, two["id"]))
	p.say(`{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}`)
	clients[1].want(rpc{"method": "notifications/tools/list_changed"})
	clients[0].want(rpc{"method": "notifications/tools/list_changed"})
}

func TestCancelledCalls(t *testing.T) {
	t.Parallel()
	w := newWorld(t, stdiomux.Options{})
	p := w.serve("")
	clients := w.greeted(p, 2, `{}`)
	clients[0].say(`{"jsonrpc":"2.0","id":"x","method":"tools/call","params":{}}`)
	first := p.call("tools/call")
	clients[1].say(`{"jsonrpc":"2.0","id":"x","method":"tools/call","params":{}}`)
	second := p.call("tools/call")
	// Cancelling is for one's own calls.
	clients[1].say(`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":"x","reason":"late"}}`)
	p.want(rpc{"method": "notifications/cancelled", "params": rpc{"requestId": second, "reason": "late"}})
	// A client that goes gives its calls up.
	_ = clients[0].out.(io.Closer).Close()
	p.want(rpc{"method": "notifications/cancelled", "params": rpc{"requestId": first, "reason": "the client has gone"}})
	// The id can be used again.
	clients[1].say(`{"jsonrpc":"2.0","id":"x","method":"tools/list"}`)
	third := p.call("tools/list")
	p.say(fmt.Sprintf(`{"jsonrpc":"2.0","id":%v,"result":{"late":true}}`, second))
	p.say(fmt.Sprintf(`{"jsonrpc":"2.0","id":%v,"result":{"tools":[]}}`, third))
	clients[1].want(rpc{"id": "x", "result": rpc{"tools": []any{}}})
}

func TestQuestionsOfTheServer(t *testing.T) {
	t.Parallel()
	const elicit = `{"jsonrpc":"2.0","id":0,"method":"elicitation/create","params":{"message":"sure?"}}`
	const roots = `{"jsonrpc":"2.0","id":0,"method":"roots/list"}`
	tests := map[string]struct {
		capabilities string
		calling      []int // clients with a call under way
		question     string
		want         int    // the client that is asked; -1: none
		refused      string // part of the error that the server gets
	}{
		"the one that calls":         {allCapabilities, []int{1}, elicit, 1, ""},
		"several call":               {allCapabilities, []int{0, 1}, elicit, -1, "shared: false"},
		"nobody calls, two are here": {allCapabilities, nil, elicit, -1, "shared: false"},
		"it takes none":              {`{"roots":{}}`, []int{1}, elicit, -1, "does not take elicitation/create"},
		"roots while several call":   {allCapabilities, []int{0, 1}, roots, 0, ""},
		"roots of one that has some": {allCapabilities, nil, roots, 0, ""},
		"roots of none":              {`{}`, nil, roots, -1, "does not take roots/list"},
		"what is not known":          {`{}`, []int{0}, `{"jsonrpc":"2.0","id":0,"method":"new/thing"}`, 0, ""},
		"a ping":                     {`{}`, nil, `{"jsonrpc":"2.0","id":0,"method":"ping"}`, -1, ""},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, stdiomux.Options{})
			p := w.serve("")
			clients := w.greeted(p, 2, tt.capabilities)
			for _, i := range tt.calling {
				clients[i].say(`{"jsonrpc":"2.0","id":9,"method":"tools/call"}`)
				p.call("tools/call")
			}
			p.say(tt.question)
			if tt.want < 0 {
				if got := asJSON(p.want(rpc{"id": 0})); tt.refused != "" && !strings.Contains(got, tt.refused) {
					t.Errorf("the server got %s, want %q", got, tt.refused)
				}
				return
			}
			other := clients[1-tt.want]
			clients[tt.want].want(rpc{"id": 0, "method": nil})
			// Nobody answers for another.
			other.say(`{"jsonrpc":"2.0","id":0,"result":{"by":"other"}}`)
			other.say(`{"jsonrpc":"2.0","id":"p","method":"ping"}`)
			ping := p.call("ping")
			p.say(fmt.Sprintf(`{"jsonrpc":"2.0","id":%v,"result":{}}`, ping))
			other.want(rpc{"id": "p"})
			clients[tt.want].say(`{"jsonrpc":"2.0","id":0,"result":{"by":"the one"}}`)
			p.want(rpc{"id": 0, "result": rpc{"by": "the one"}})
		})
	}
}

func TestAQuestionIsOverWithItsClientOrItsServer(t *testing.T) {
	t.Parallel()
	w := newWorld(t, stdiomux.Options{})
	p := w.serve("")
	c := w.greeted(p, 1, allCapabilities)[0]
	p.say(`{"jsonrpc":"2.0","id":"q1","method":"sampling/createMessage"}`)
	c.want(rpc{"id": "q1"})
	p.say(`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":"q1"}}`)
	c.want(rpc{"method": "notifications/cancelled", "params": rpc{"requestId": "q1"}})
	c.say(`{"jsonrpc":"2.0","id":"q1","result":{}}`) // too late
	p.say(`{"jsonrpc":"2.0","id":"q2","method":"sampling/createMessage"}`)
	c.want(rpc{"id": "q2"})
	_ = c.out.(io.Closer).Close()
	if got := asJSON(p.want(rpc{"id": "q2", "error": nil})); !strings.Contains(got, "has gone") {
		t.Errorf("the server got %s", got)
	}
}

func TestAProcessThatEnds(t *testing.T) {
	t.Parallel()
	w := newWorld(t, stdiomux.Options{})
	p := w.serve("exit code 3")
	clients := w.greeted(p, 2, allCapabilities)
	clients[0].say(`{"jsonrpc":"2.0","id":1,"method":"resources/subscribe","params":{"uri":"file:///a"}}`)
	p.call("resources/subscribe")
	clients[1].say(`{"jsonrpc":"2.0","id":1,"method":"logging/setLevel","params":{"level":"error"}}`)
	p.call("logging/setLevel")
	clients[1].say(`{"jsonrpc":"2.0","id":2,"method":"tools/call"}`)
	p.call("tools/call")
	p.kill()
	if err := <-p.ended; err == nil || err.Error() != "exit code 3" {
		t.Errorf("Serve() = %v, want exit code 3", err)
	}
	for id := 1; id <= 2; id++ {
		got := asJSON(clients[1].want(rpc{"id": nil, "error": nil}))
		if !strings.Contains(got, "the MCP server echo ended while this call was under way: exit code 3") || !strings.Contains(got, "-32000") {
			t.Errorf("a caller got %s", got)
		}
	}
	clients[0].want(rpc{"id": 1, "error": nil})
	// What comes meanwhile waits for the next process, which is told what the last knew.
	clients[0].say(`{"jsonrpc":"2.0","id":3,"method":"tools/call"}`)
	next := w.serve("")
	next.welcome()
	next.want(rpc{"method": "logging/setLevel", "params": rpc{"level": "error"}})
	next.want(rpc{"method": "resources/subscribe", "params": rpc{"uri": "file:///a"}})
	next.say(fmt.Sprintf(`{"jsonrpc":"2.0","id":%v,"result":{"again":true}}`, next.call("tools/call")))
	clients[0].want(rpc{"id": 3, "result": rpc{"again": true}})
}

func TestAServerThatIsDown(t *testing.T) {
	t.Parallel()
	w := newWorld(t, stdiomux.Options{})
	p := w.serve("")
	c := w.greeted(p, 1, `{}`)[0]
	p.kill()
	<-p.ended
	c.say(`{"jsonrpc":"2.0","id":1,"method":"tools/call"}`)
	late := w.attach()
	late.say(hello(`{}`))
	for deadline := time.Now().Add(patience); w.mux.Clients() < 2 && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond)
	}
	w.mux.Down("no paper")
	c.want(rpc{"id": 1, "error": rpc{"code": -32000, "message": "no paper"}})
	c.say(`{"jsonrpc":"2.0","id":2,"method":"tools/call"}`)
	c.want(rpc{"id": 2, "error": nil})
	late.want(rpc{"id": "hello", "error": nil})
	next := w.serve("")
	next.welcome()
	c.say(`{"jsonrpc":"2.0","id":3,"method":"tools/call"}`)
	next.call("tools/call")
}

func TestAServerThatDoesNotShakeHands(t *testing.T) {
	t.Parallel()
	w := newWorld(t, stdiomux.Options{Patience: 20 * time.Millisecond})
	c := w.attach()
	c.say(hello(`{}`))
	p := w.serve("signal 9")
	if err := <-p.ended; !strings.Contains(err.Error(), "did not answer initialize within 20ms") {
		t.Errorf("Serve() = %v", err)
	}
	refusing := w.serve("")
	hi := refusing.want(rpc{"method": "initialize"})
	refusing.say(fmt.Sprintf(`{"jsonrpc":"2.0","id":%v,"error":{"code":-32602,"message":"too old"}}`, hi["id"]))
	c.want(rpc{"id": "hello", "error": rpc{"code": -32602, "message": "too old"}})
	c.say(hello(`{}`)) // another may be taken
	refusing.welcome()
	c.want(rpc{"id": "hello", "result": nil})
}

func TestBounds(t *testing.T) {
	t.Parallel()
	w := newWorld(t, stdiomux.Options{MaxLine: 1000, MaxCalls: 2, MaxClients: 2})
	p := w.serve("")
	c := w.greeted(p, 1, `{}`)[0]
	pad := strings.Repeat("x", 2000)
	c.say(`{"jsonrpc":"2.0","id":5,"method":"tools/call","params":{"a":"` + pad + `"}}`)
	if got := asJSON(c.want(rpc{"id": 5, "error": nil})); !strings.Contains(got, "1000 bytes") {
		t.Errorf("a call that is too long got %s", got)
	}
	for id := range 2 {
		c.say(fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"method":"tools/call"}`, id))
	}
	first, second := p.call("tools/call"), p.call("tools/call")
	c.say(`{"jsonrpc":"2.0","id":2,"method":"tools/call"}`)
	if got := asJSON(c.want(rpc{"id": 2, "error": nil})); !strings.Contains(got, "too many calls") {
		t.Errorf("a third call got %s", got)
	}
	c.say(`{"jsonrpc":"2.0","id":0,"method":"tools/call"}`)
	c.want(rpc{"id": 0, "error": nil})
	// Answers that are too long, with their ids first and last.
	p.say(fmt.Sprintf(`{"jsonrpc":"2.0","id":%v,"result":{"a":"%s"}}`, first, pad))
	c.want(rpc{"id": 0, "error": nil})
	p.say(fmt.Sprintf(`{"result":{"a":"%s"},"jsonrpc":"2.0","id":%v}`, pad, second))
	c.want(rpc{"id": 1, "error": nil})
	w.attach()
	for deadline := time.Now().Add(patience); w.mux.Clients() < 2 && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond)
	}
	_, theirs := net.Pipe()
	if err := w.mux.Attach(t.Context(), theirs); err != stdiomux.ErrFull { //nolint:errorlint // it is the value
		t.Errorf("Attach() of a third client = %v, want ErrFull", err)
	}
	p.say(`{"jsonrpc":"2.0","result":{"a":"` + pad + `"}}`)
	if err := <-p.ended; !strings.Contains(err.Error(), "a line of more than 1000 bytes") {
		t.Errorf("Serve() = %v", err)
	}
}

func TestAClientThatDoesNotReadIsDropped(t *testing.T) {
	t.Parallel()
	w := newWorld(t, stdiomux.Options{MaxQueue: 10_000})
	p := w.serve("")
	ours, theirs := net.Pipe()
	left := make(chan error, 1)
	go func() { left <- w.mux.Attach(t.Context(), theirs) }()
	if _, err := io.WriteString(ours, hello(`{}`)+"\n"); err != nil {
		t.Fatal(err)
	}
	p.welcome()
	reading := w.attach()
	reading.say(hello(`{}`))
	reading.want(rpc{"id": "hello"})
	for range 1000 {
		p.say(`{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}`)
		reading.want(rpc{"method": "notifications/tools/list_changed"})
	}
	select {
	case <-left:
	case <-time.After(patience):
		t.Fatal("a client that does not read is there still")
	}
}

func TestLogMessagesAndResources(t *testing.T) {
	t.Parallel()
	w := newWorld(t, stdiomux.Options{})
	p := w.serve("")
	clients := w.greeted(p, 3, `{}`)
	for i, level := range []string{"debug", "error"} {
		clients[i].say(`{"jsonrpc":"2.0","id":1,"method":"logging/setLevel","params":{"level":"` + level + `"}}`)
		// The process hears the chattiest wish of all.
		p.say(fmt.Sprintf(`{"jsonrpc":"2.0","id":%v,"result":{}}`, p.want(rpc{"method": "logging/setLevel", "params": rpc{"level": "debug"}})["id"]))
		clients[i].want(rpc{"id": 1, "result": nil})
	}
	p.say(`{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":"1"}}`)
	clients[0].want(rpc{"params": rpc{"level": "info", "data": "1"}})
	clients[2].want(rpc{"params": rpc{"level": "info", "data": "1"}})
	// During a call of one its lines are its own.
	clients[2].say(`{"jsonrpc":"2.0","id":2,"method":"tools/call"}`)
	busy := p.call("tools/call")
	p.say(`{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"error","data":"2"}}`)
	clients[2].want(rpc{"params": rpc{"level": "error", "data": "2"}})
	p.say(fmt.Sprintf(`{"jsonrpc":"2.0","id":%v,"result":{}}`, busy))
	clients[2].want(rpc{"id": 2})

	for _, c := range clients[:2] {
		c.say(`{"jsonrpc":"2.0","id":3,"method":"resources/subscribe","params":{"uri":"a"}}`)
		p.say(fmt.Sprintf(`{"jsonrpc":"2.0","id":%v,"result":{}}`, p.call("resources/subscribe")))
		c.want(rpc{"id": 3})
	}
	p.say(`{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{"uri":"a"}}`)
	clients[0].want(rpc{"method": "notifications/resources/updated"})
	clients[1].want(rpc{"method": "notifications/resources/updated"})
	// The process is told when the last has unsubscribed.
	clients[0].say(`{"jsonrpc":"2.0","id":4,"method":"resources/unsubscribe","params":{"uri":"a"}}`)
	clients[0].want(rpc{"id": 4, "result": nil})
	_ = clients[1].out.(io.Closer).Close()
	p.want(rpc{"method": "resources/unsubscribe", "params": rpc{"uri": "a"}})
	clients[2].silent()
}

func TestLinesThatAreNoMessages(t *testing.T) {
	t.Parallel()
	w := newWorld(t, stdiomux.Options{})
	p := w.serve("")
	c := w.greeted(p, 1, `{}`)[0]
	p.say("[INFO] started\n\n{\"level\":\"info\"}\nbad \xff byte")
	for _, want := range []string{"[INFO] started", `{"level":"info"}`, "bad \uFFFD byte"} {
		if got := <-w.output; got != want {
			t.Errorf("the output has %q, want %q", got, want)
		}
	}
	for _, bad := range []string{"no", `{"id":1}`, `{"jsonrpc":"2.0","id":null,"method":"a"}`, `{"jsonrpc":"2.0","Method":"a"}`} {
		c.say(bad)
		c.want(rpc{"id": nil, "error": nil})
	}
	// A batch is its messages; bytes that are no text are put right.
	c.say("[{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"a\"},{\"jsonrpc\":\"2.0\",\"id\":2,\"method\":\"b\xff\"}]")
	p.call("a")
	p.call("b\uFFFD")
	early := w.attach()
	early.say(`{"jsonrpc":"2.0","id":1,"method":"tools/list"}`)
	early.want(rpc{"id": 1, "error": nil})
	early.say(`{"jsonrpc":"2.0","id":2,"method":"ping"}`)
	early.want(rpc{"id": 2, "result": nil})
}
