// SPDX-License-Identifier: Apache-2.0

package unpack

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"hash"
	"hash/crc64"
	"hash/maphash"
	"io"
	"path"
	"strconv"
	"unicode/utf8"

	"github.com/vbatts/tar-split/archive/tar"
)

var crcTable = crc64.MakeTable(crc64.ISO)

// splitter writes tar-split's lines: the archive without its file contents, of
// which it keeps a checksum. All methods do nothing on a nil splitter.
type splitter struct {
	w    *bufio.Writer
	pos  int
	line []byte
	sum  []byte
	seed maphash.Seed
	seen map[uint64]struct{} // hashes of the paths: there may be millions
	lost bool                // tar-split cannot put the archive together again: it has a path twice
	err  error

	spelled int64 // bytes of content that stand in the lines
	whole   bool  // those of the entry under way
}

// maxSpelled is how much content may stand in the lines.
const maxSpelled = 1 << 20

func newSplitter(w io.Writer) *splitter {
	return &splitter{w: bufio.NewWriterSize(w, 256<<10), seed: maphash.MakeSeed(), seen: map[uint64]struct{}{}}
}

// segment records the raw bytes since the last call: headers and padding.
func (s *splitter) segment(tr *tar.Reader) {
	if s == nil {
		return
	}
	if b := tr.RawBytes(); len(b) > 0 {
		s.padding(b)
	}
}

func (s *splitter) padding(b []byte) {
	if s == nil {
		return
	}
	s.line = append(s.line[:0], `{"type":2,"payload":"`...)
	s.line = base64.StdEncoding.AppendEncode(s.line, b)
	s.finishLine()
}

// spell records content that no file has: some tools write something into a whiteout.
func (s *splitter) spell(b []byte) {
	if s.spelled += int64(len(b)); s.spelled > maxSpelled {
		s.lost = true
		return
	}
	s.whole = true
	s.padding(b)
}

// file records an entry whose content had the given checksum.
func (s *splitter) file(h *tar.Header, crc hash.Hash64) {
	if s == nil {
		return
	}
	clean := maphash.String(s.seed, path.Clean(h.Name))
	if _, ok := s.seen[clean]; ok {
		s.lost = true
	}
	s.seen[clean] = struct{}{}
	size := h.Size
	if s.whole {
		size, s.whole = 0, false
	}
	s.line = append(s.line[:0], `{"type":1`...)
	switch {
	case h.Name == "":
	case utf8.ValidString(h.Name):
		s.line = append(s.line, `,"name":`...)
		s.line = appendString(s.line, h.Name)
	default:
		s.line = append(s.line, `,"name_raw":"`...)
		s.line = base64.StdEncoding.AppendEncode(s.line, []byte(h.Name))
		s.line = append(s.line, '"')
	}
	if size != 0 {
		s.line = append(s.line, `,"size":`...)
		s.line = strconv.AppendInt(s.line, size, 10)
	}
	if size <= 0 {
		s.line = append(s.line, `,"payload":null,"position":`...)
		s.endLine()
		return
	}
	s.line = append(s.line, `,"payload":"`...)
	s.sum = crc.Sum(s.sum[:0])
	s.line = base64.StdEncoding.AppendEncode(s.line, s.sum)
	s.finishLine()
}

func appendString(b []byte, v string) []byte {
	for i := 0; i < len(v); i++ {
		if c := v[i]; c < 0x20 || c == '"' || c == '\\' || c >= 0x7f {
			q, _ := json.Marshal(v)
			return append(b, q...)
		}
	}
	b = append(b, '"')
	b = append(b, v...)
	return append(b, '"')
}

func (s *splitter) finishLine() {
	s.line = append(s.line, `","position":`...)
	s.endLine()
}

func (s *splitter) endLine() {
	s.line = strconv.AppendInt(s.line, int64(s.pos), 10)
	s.line = append(s.line, '}', '\n')
	s.pos++
	if _, err := s.w.Write(s.line); err != nil && s.err == nil {
		s.err = err
	}
}

// finish reports whether the lines are complete and usable.
func (s *splitter) finish() (bool, error) {
	if s.err == nil {
		s.err = s.w.Flush()
	}
	return !s.lost, s.err
}
