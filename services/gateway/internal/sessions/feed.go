package sessions

import "sync"

const (
	// outbox is how many messages wait for a slow or absent client before it is cut.
	outbox = 256
	// gossip is how much of it may be filled with what can be lost.
	gossip = outbox / 2
	// replayed is how many messages that were written are kept for a client that did not
	// get them, and replayedBytes how much of them.
	replayed      = 128
	replayedBytes = 256 << 10
)

// Item is a message with its place in a stream; the first has place 1.
type Item struct {
	Place   int64
	Message []byte
}

// feed is what a session's client is told unasked, in order. Each message is for one of
// its streams. Those written last are kept for a client whose stream broke.
type feed struct {
	mu    sync.Mutex
	items []Item
	last  int64 // place of the newest
	taken int64 // up to which all have been taken
	bytes int
	// ready holds a token while something waits; who takes it and leaves some puts it back.
	ready chan struct{}
}

func newFeed() feed { return feed{ready: make(chan struct{}, 1)} }

// put appends a message unless most wait already.
func (f *feed) put(message []byte, most int64) (Item, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.last-f.taken >= most {
		return Item{}, false
	}
	f.last++
	item := Item{f.last, message}
	f.items, f.bytes = append(f.items, item), f.bytes+len(message)
	f.trim()
	f.signal()
	return item, true
}

// trim drops the oldest of those that were taken.
func (f *feed) trim() {
	drop := 0
	for drop < len(f.items) && f.items[drop].Place <= f.taken && (len(f.items)-drop > replayed || f.bytes > replayedBytes) {
		f.bytes -= len(f.items[drop].Message)
		drop++
	}
	if drop > 0 {
		kept := copy(f.items, f.items[drop:])
		clear(f.items[kept:])
		f.items = f.items[:kept]
	}
}

func (f *feed) signal() {
	select {
	case f.ready <- struct{}{}:
	default:
	}
}

// take gives the oldest message that no stream has taken.
func (f *feed) take() (item Item, ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.last == f.taken {
		return item, false
	}
	f.taken++
	if f.last > f.taken {
		f.signal()
	}
	item = f.items[len(f.items)-1-int(f.last-f.taken)]
	f.trim()
	return item, true
}

// since are the messages after a place that have been taken; ok is false when some of
// them are not kept any more.
func (f *feed) since(place int64) (items []Item, ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, item := range f.items {
		if item.Place > place && item.Place <= f.taken {
			items = append(items, item)
		}
	}
	return items, int64(len(items)) == f.taken-min(place, f.taken)
}
