// SPDX-License-Identifier: Apache-2.0

package build

import "sync"

// slots bound how many stages run at once. One that goes on, after it has waited
// for another stage, comes before those that have not begun: what it still has to
// do is mostly little, and others may wait for it.
type slots struct {
	all int

	mu      sync.Mutex
	free    int
	fresh   []chan struct{}
	resumed []chan struct{}
}

func newSlots(n int) *slots { return &slots{all: n, free: n} }

// begin waits for a slot.
func (s *slots) begin() { s.take(&s.fresh) }

// goOn waits for a slot after leave.
func (s *slots) goOn() { s.take(&s.resumed) }

func (s *slots) take(queue *[]chan struct{}) {
	s.mu.Lock()
	if s.free > 0 {
		s.free--
		s.mu.Unlock()
		return
	}
	turn := make(chan struct{})
	*queue = append(*queue, turn)
	s.mu.Unlock()
	<-turn
}

// leave gives the slot to the next one.
func (s *slots) leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, queue := range []*[]chan struct{}{&s.resumed, &s.fresh} {
		if len(*queue) > 0 {
			close((*queue)[0])
			*queue = (*queue)[1:]
			return
		}
	}
	s.free++
}
