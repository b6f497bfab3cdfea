// SPDX-License-Identifier: Apache-2.0

package storage

import (
	"context"
	"os"
	"path/filepath"
	"testing"
)

// An image that was removed by a command that was killed before it wrote the index,
// and then made again to the letter, has layers with other short names.
func TestRemadeImage(t *testing.T) {
	ctx := context.Background()
	s := newStore(t, "")
	before, err := s.Pull(ctx, "hello", PullOptions{})
	if err != nil {
		t.Fatal(err)
	}
	st, err := s.open()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := st.DeleteImage(before.ID, true); err != nil {
		t.Fatal(err)
	}
	img, err := s.Pull(ctx, "hello", PullOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if img.ID != before.ID {
		t.Fatalf("%s is another image than %s", img.ID, before.ID)
	}
	for _, l := range img.Lowers {
		if _, err := os.Stat(filepath.Join(s.Home(), l)); err != nil {
			t.Errorf("the image cannot be mounted: %v", err)
		}
	}
}
