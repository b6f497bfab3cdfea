// SPDX-License-Identifier: Apache-2.0

package artifact

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/proa-containers/proa/pkg/errs"
)

func newStore(t *testing.T) (s *Store, file func(name, text string) string) {
	t.Helper()
	dir := t.TempDir()
	plain := func(n string) (string, error) { return strings.ToLower(n), nil }
	return Open(filepath.Join(dir, "store"), plain), func(name, text string) string {
		p := filepath.Join(dir, name)
		if err := os.WriteFile(p, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return p
	}
}

// blobs counts what the store holds.
func blobs(t *testing.T, s *Store) int {
	t.Helper()
	list, err := filepath.Glob(filepath.Join(s.dir, "blobs", "*", "*"))
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}

func TestFind(t *testing.T) {
	s, file := newStore(t)
	seen := map[byte]string{}
	var one, two string // two digests that begin alike
	for i := 0; one == ""; i++ {
		d, err := s.Add(fmt.Sprintf("n%d", i), []string{file(fmt.Sprint("f", i), fmt.Sprint(i))}, AddOptions{})
		if err != nil {
			t.Fatal(err)
		}
		hex := d.Encoded()
		if old := seen[hex[0]]; old != "" {
			one, two = old, hex
		}
		seen[hex[0]] = hex
	}
	same := 0
	for one[same] == two[same] {
		same++
	}
	if a, err := s.Find(one[:max(same+1, 3)]); err != nil || a.Digest.Encoded() != one {
		t.Errorf("the start of a digest finds %v, %v", a, err)
	}
	if a, err := s.Find("sha256:" + two); err != nil || a.Digest.Encoded() != two {
		t.Errorf("a digest finds %v, %v", a, err)
	}
	if a, err := s.Find("n0"); err != nil || a.Name != "n0" {
		t.Errorf("a name finds %v, %v", a, err)
	}
	if _, err := s.Find("none"); !errs.Is(err, errs.NotFound) {
		t.Errorf("got %v", err)
	}
}

// An artifact whose manifest is broken is told with the way out, and nothing is
// cleared away while it is unknown what belongs to it.
func TestBrokenManifest(t *testing.T) {
	s, file := newStore(t)
	d, err := s.Add("bad", []string{file("a", "a")}, AddOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Add("good", []string{file("b", "b")}, AddOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(s.blob(d), []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = s.List()
	if !errs.Is(err, errs.Corrupt) || errs.HintOf(err) != "proa artifact rm bad" {
		t.Errorf("got %v, hint %q", err, errs.HintOf(err))
	}
	before := blobs(t, s)
	if _, err := s.Remove("good"); err != nil {
		t.Fatal(err)
	}
	if n := blobs(t, s); n != before {
		t.Errorf("%d blobs of %d are left beside a broken artifact", n, before)
	}
	if _, err := s.Remove("bad"); err != nil {
		t.Fatal(err)
	}
	if n := blobs(t, s); n != 0 {
		t.Errorf("%d blobs are left", n)
	}
}

// What is being read stays, and goes with the next writing call.
func TestReaderKeepsBlobs(t *testing.T) {
	s, file := newStore(t)
	if _, err := s.Add("x", []string{file("a", "a")}, AddOptions{}); err != nil {
		t.Fatal(err)
	}
	_, release, err := s.Layout()
	if err != nil {
		t.Fatal(err)
	}
	before := blobs(t, s)
	if _, err := s.Remove("x"); err != nil {
		t.Fatal(err)
	}
	if n := blobs(t, s); n != before {
		t.Errorf("%d blobs of %d are left for the reader", n, before)
	}
	release()
	if _, err := s.RemoveAll(); err != nil {
		t.Fatal(err)
	}
	if n := blobs(t, s); n != 0 {
		t.Errorf("%d blobs are left", n)
	}
}
