// SPDX-License-Identifier: Apache-2.0

package monitor

import (
	"path/filepath"
	"sync"
	"testing"

	"github.com/proa-containers/proa/pkg/errs"
)

// A look at whether somebody lives in a directory must not keep others from
// moving in.
func TestLockBesideProbes(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run")
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					Alive(dir)
				}
			}
		})
	}
	for range 300 {
		f, err := Lock(dir)
		if err != nil {
			t.Errorf("lock: %v", err)
			break
		}
		if _, err := Lock(dir); !errs.Is(err, errs.State) {
			t.Errorf("second lock: %v", err)
		}
		f.Close()
	}
	close(stop)
	wg.Wait()
}
