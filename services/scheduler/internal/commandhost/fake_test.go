package commandhost

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// fakeVariable makes this very program the one that is run.
const fakeVariable = "COMMANDHOST_FAKE"

func TestMain(m *testing.M) {
	switch os.Getenv(fakeVariable) {
	case "stdio":
		fakeStdio()
	case "http":
		fakeHTTP()
	case "dies":
		fmt.Fprintln(os.Stderr, "cannot reach the data base with", os.Getenv("TOKEN"))
		os.Exit(4)
	case "mute":
		time.Sleep(time.Hour) // an empty select would count as a deadlock; it is ended long before
	default:
		os.Exit(m.Run())
	}
	os.Exit(0)
}

type fakeMessage struct {
	ID     json.RawMessage `json:"id"`
	Method string          `json:"method"`
	Params struct {
		Name      string         `json:"name"`
		Arguments map[string]any `json:"arguments"`
		Meta      struct {
			ProgressToken json.RawMessage `json:"progressToken"`
		} `json:"_meta"`
	} `json:"params"`
	Result json.RawMessage `json:"result"`
}

// fakeStdio is a server that speaks by its standard input and output.
func fakeStdio() {
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 32<<20)
	var asked json.RawMessage // the call that waits for an answer
	for lines.Scan() {
		var m fakeMessage
		if json.Unmarshal(lines.Bytes(), &m) != nil {
			os.Exit(9)
		}
		switch {
		case m.Method == "initialize":
			fmt.Println("a banner that is no message")
			reply(m.ID, `{"protocolVersion":"2025-06-18","capabilities":{"tools":{}},"serverInfo":{"name":"fake","version":"1"},"instructions":"be kind"}`)
		case m.Method == "tools/list":
			reply(m.ID, `{"tools":[{"name":"pid","inputSchema":{"type":"object"}}]}`)
		case m.Method == "tools/call" && m.Params.Name == "ask":
			asked = m.ID
			fmt.Println(`{"jsonrpc":"2.0","id":"q","method":"elicitation/create","params":{"message":"which?","requestedSchema":{"type":"object","properties":{"color":{"type":"string"}}}}}`)
		case m.Method == "tools/call":
			fakeCall(m)
		case m.Method == "" && string(m.ID) == `"q"`:
			reply(asked, fmt.Sprintf(`{"content":[{"type":"text","text":%q}]}`, m.Result))
		}
	}
}

func fakeCall(m fakeMessage) {
	switch m.Params.Name {
	case "pid":
		text(m.ID, fmt.Sprint(os.Getpid()))
	case "env":
		text(m.ID, os.Getenv(fmt.Sprint(m.Params.Arguments["name"])))
	case "progress":
		for i := 1; i <= 2; i++ {
			fmt.Printf(`{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":%s,"progress":%d}}`+"\n", m.Params.Meta.ProgressToken, i)
		}
		text(m.ID, "done")
	case "steps":
		// One step each time the file that it is given has grown.
		for i := range 3 {
			fmt.Printf(`{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":"step %d"}}`+"\n", i)
			for info, err := os.Stat(fmt.Sprint(m.Params.Arguments["file"])); err != nil || int(info.Size()) <= i; {
				time.Sleep(time.Millisecond)
				info, err = os.Stat(fmt.Sprint(m.Params.Arguments["file"]))
			}
		}
		text(m.ID, "done")
	case "large":
		fmt.Printf("{\"jsonrpc\":\"2.0\",\"id\":%s,\"result\":{\"x\":\"", m.ID)
		filler := make([]byte, 1<<20)
		for i := range filler {
			filler[i] = 'x'
		}
		for range 20 {
			_, _ = os.Stdout.Write(filler)
		}
		fmt.Println(`"}}`)
	case "exit":
		fmt.Fprintln(os.Stderr, "the last words")
		os.Exit(3)
	}
}

func reply(id json.RawMessage, result string) {
	fmt.Printf(`{"jsonrpc":"2.0","id":%s,"result":%s}`+"\n", id, result)
}

func text(id json.RawMessage, s string) {
	reply(id, fmt.Sprintf(`{"content":[{"type":"text","text":%q}]}`, s))
}

// fakeHTTP is a server of the official SDK at the port that it is told.
func fakeHTTP() {
	server := mcp.NewServer(&mcp.Implementation{Name: "fake-http", Version: "1"}, nil)
	mcp.AddTool(server, &mcp.Tool{Name: "port"}, func(context.Context, *mcp.CallToolRequest, struct{}) (*mcp.CallToolResult, any, error) {
		return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: os.Args[1]}}}, nil, nil
	})
	mcp.AddTool(server, &mcp.Tool{Name: "exit"}, func(context.Context, *mcp.CallToolRequest, struct{}) (*mcp.CallToolResult, any, error) {
		os.Exit(5)
		return nil, nil, nil
	})
	mux := http.NewServeMux()
	mux.Handle("/agent/mcp", mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return server }, nil))
	fmt.Println("listening")
	_ = http.ListenAndServe("127.0.0.1:"+os.Getenv("PORT"), mux)
	os.Exit(6)
}
