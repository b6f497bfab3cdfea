// SPDX-License-Identifier: Apache-2.0

package build

import (
	"slices"
	"sync"
	"testing"
	"time"
)

func TestSlots(t *testing.T) {
	s := newSlots(2)
	s.begin()
	s.begin()
	var mu sync.Mutex
	var order []string
	var wg sync.WaitGroup
	queue := func(name string, wait func(), queued *[]chan struct{}) {
		wg.Go(func() {
			wait()
			mu.Lock()
			order = append(order, name)
			mu.Unlock()
			s.leave()
		})
		for ; ; time.Sleep(time.Millisecond) { // until it stands in the queue
			s.mu.Lock()
			there := len(*queued) > 0
			s.mu.Unlock()
			if there {
				return
			}
		}
	}
	queue("fresh", s.begin, &s.fresh)
	queue("resumed", s.goOn, &s.resumed)
	s.leave()
	wg.Wait()
	if want := []string{"resumed", "fresh"}; !slices.Equal(order, want) {
		t.Errorf("order %v, want %v", order, want)
	}
	s.leave()
	if s.free != 2 {
		t.Errorf("%d slots are free, want 2", s.free)
	}
}
