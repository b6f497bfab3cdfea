// SPDX-License-Identifier: Apache-2.0

package storage

import (
	"fmt"
	"io"
	"sync"
)

// LayerState is how far one layer has come.
type LayerState int

const (
	LayerWaiting     LayerState = iota // known, nothing read yet
	LayerDownloading                   // Bytes of Total were read
	LayerExtracting                    // all is read, not yet committed
	LayerDone                          // "Pull complete"
	LayerExists                        // "Already exists"
	LayerPushing                       // Bytes of Total were sent
	LayerPushed                        // "Pushed"
	LayerPresent                       // "Layer already exists" at the registry
	LayerMounted                       // "Mounted from ..." (From)
)

// LayerEvent is a change of one layer.
type LayerEvent struct {
	ID    string // the first 12 digits of its digest
	State LayerState
	Bytes int64  // compressed
	Total int64  // 0: unknown
	From  string // with LayerMounted
}

// Text is what Docker prints beside the layer's id, "" for states between.
func (e LayerEvent) Text() string {
	switch e.State {
	case LayerDone:
		return "Pull complete"
	case LayerExists:
		return "Already exists"
	case LayerPushed:
		return "Pushed"
	case LayerPresent:
		return "Layer already exists"
	case LayerMounted:
		return "Mounted from " + e.From
	}
	return ""
}

// Progress is told how a transfer goes. Calls come from several goroutines, but
// never two at once for one transfer. Lines and layers come in the order in
// which a terminal shows them: a heading, layers, closing lines.
type Progress interface {
	// Line is one of Docker's sentences, without a line feed.
	Line(text string)
	// Layer is a change of a layer; LayerDownloading comes several times a
	// second.
	Layer(LayerEvent)
}

// Plain writes Docker's lines for an output that is no terminal.
func Plain(w io.Writer) Progress {
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

func (p *plain) Layer(e LayerEvent) {
	if t := e.Text(); t != "" {
		p.Line(e.ID + ": " + t)
	}
}
