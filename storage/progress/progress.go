// SPDX-License-Identifier: Apache-2.0

// Package progress says how a transfer of layers goes, in the words of Docker.
package progress

import (
	"fmt"
	"io"
	"sync"
)

// State is how far one layer has come.
type State int

const (
	Waiting     State = iota // known, nothing read yet
	Downloading              // Bytes of Total were read
	Extracting               // all is read, not yet committed
	Done                     // "Pull complete"
	Exists                   // "Already exists"
	Pushing                  // Bytes of Total were sent
	Pushed                   // "Pushed"
	Present                  // "Layer already exists" at the registry
	Mounted                  // "Mounted from ..." (From)
)

// Event is a change of one layer.
type Event struct {
	ID    string // the first 12 digits of its digest
	State State
	Bytes int64  // compressed
	Total int64  // 0: unknown
	From  string // with Mounted
}

// Text is what Docker prints beside the layer's id, "" for states between.
func (e Event) Text() string {
	switch e.State {
	case Done:
		return "Pull complete"
	case Exists:
		return "Already exists"
	case Pushed:
		return "Pushed"
	case Present:
		return "Layer already exists"
	case Mounted:
		return "Mounted from " + e.From
	}
	return ""
}

// Sink is told how a transfer goes. Calls come from several goroutines, but
// never two at once for one transfer. Lines and layers come in the order in
// which a terminal shows them: a heading, layers, closing lines.
type Sink interface {
	// Line is one of Docker's sentences, without a line feed.
	Line(text string)
	// Layer is a change of a layer; Downloading comes several times a
	// second.
	Layer(Event)
}

// Plain writes Docker's lines for an output that is no terminal.
func Plain(w io.Writer) Sink {
	if w == nil {
		return nil
	}
	return &plain{w: w}
}

type plain struct {
	mu sync.Mutex
	w  io.Writer
}

func (p *plain) Line(text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	fmt.Fprintln(p.w, text)
}

func (p *plain) Layer(e Event) {
	if t := e.Text(); t != "" {
		p.Line(e.ID + ": " + t)
	}
}
