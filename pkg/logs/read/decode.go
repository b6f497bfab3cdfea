// SPDX-License-Identifier: Apache-2.0

package read

import (
	"bytes"
	"encoding/json"
	"errors"
	"time"
	"unicode/utf8"

	"github.com/proa-containers/proa/pkg/logs"
)

// errRecord says that a line is no record: the rest of a torn write.
var errRecord = errors.New("not a log record")

// decoder reads one line, without its line feed, into r. r.Line may alias
// the line or the decoder's own buffer until the next call.
type decoder func(line []byte, r *logs.Record) error

func newDecoder(driver string) decoder {
	if driver == logs.K8sFile {
		return decodeK8s
	}
	var buf []byte
	return func(line []byte, r *logs.Record) (err error) {
		buf, err = decodeJSON(line, buf[:0], r)
		return err
	}
}

// decodeK8s reads "TIME STREAM TAGS LINE".
func decodeK8s(line []byte, r *logs.Record) error {
	stamp, rest, ok1 := bytes.Cut(line, []byte(" "))
	stream, rest, ok2 := bytes.Cut(rest, []byte(" "))
	tags, text, ok3 := bytes.Cut(rest, []byte(" "))
	if !ok1 || !ok2 || !ok3 || len(tags) == 0 {
		return errRecord
	}
	var err error
	if r.Time, err = time.Parse(time.RFC3339Nano, string(stamp)); err != nil {
		return errRecord
	}
	if !setStream(r, stream) {
		return errRecord
	}
	switch tag, _, _ := bytes.Cut(tags, []byte(":")); string(tag) {
	case "F":
		r.Partial = false
	case "P":
		r.Partial = true
	default:
		return errRecord
	}
	r.Line = text
	return nil
}

func setStream(r *logs.Record, name []byte) bool {
	switch string(name) {
	case "stdout":
		r.Stream = logs.Stdout
	case "stderr":
		r.Stream = logs.Stderr
	default:
		return false
	}
	return true
}

// decodeJSON reads a record of Docker's format, with the text unescaped into
// buf, which it returns. Records in the order that both Docker and we write
// take a path of their own, several times as fast as encoding/json.
func decodeJSON(line, buf []byte, r *logs.Record) ([]byte, error) {
	if buf, ok := decodeOwn(line, buf, r); ok {
		return buf, nil
	}
	var rec struct {
		Log    *string         `json:"log"`
		Stream string          `json:"stream"`
		Time   time.Time       `json:"time"`
		Attrs  json.RawMessage `json:"attrs"`
	}
	if json.Unmarshal(line, &rec) != nil || rec.Log == nil || !setStream(r, []byte(rec.Stream)) {
		return buf, errRecord
	}
	buf = append(buf[:0], *rec.Log...)
	r.Time, r.Attrs = rec.Time, rec.Attrs
	setText(r, buf)
	return buf, nil
}

// setText splits the line feed, which says that the line ends here, off.
func setText(r *logs.Record, text []byte) {
	n := len(text)
	r.Partial = n == 0 || text[n-1] != '\n'
	if !r.Partial {
		n--
	}
	r.Line = text[:n]
}

func decodeOwn(line, buf []byte, r *logs.Record) ([]byte, bool) {
	rest, ok := bytes.CutPrefix(line, []byte(`{"log":"`))
	if !ok {
		return buf, false
	}
	buf, rest, ok = unescape(rest, buf)
	if !ok {
		return buf, false
	}
	if rest, ok = bytes.CutPrefix(rest, []byte(`,"stream":"`)); !ok {
		return buf, false
	}
	stream, rest, ok := bytes.Cut(rest, []byte(`"`))
	if !ok || !setStream(r, stream) {
		return buf, false
	}
	// Attributes lie between; the time is last and holds no quotes.
	const key = `,"time":"`
	i := bytes.LastIndex(rest, []byte(key))
	if i > 0 && rest[0] != ',' || i < 0 {
		return buf, false
	}
	r.Attrs = nil
	if i > 0 {
		if !json.Valid(append(append([]byte("{"), rest[1:i]...), '}')) {
			return buf, false
		}
		r.Attrs, _ = bytes.CutPrefix(rest[1:i], []byte(`"attrs":`))
	}
	stamp, ok := bytes.CutSuffix(rest[i+len(key):], []byte(`"}`))
	if !ok {
		return buf, false
	}
	var err error
	if r.Time, err = time.Parse(time.RFC3339Nano, string(stamp)); err != nil {
		return buf, false
	}
	setText(r, buf)
	return buf, true
}

// unescape appends a JSON string, up to its closing quote, to buf. It gives up
// on anything unusual; encoding/json decides then.
func unescape(s, buf []byte) (out, rest []byte, ok bool) {
	start := 0
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"':
			return append(buf, s[start:i]...), s[i+1:], true
		case c < ' ':
			return buf, s, false
		case c == '\\':
			buf = append(buf, s[start:i]...)
			n := 0
			if buf, n = unescapeOne(s[i:], buf); n == 0 {
				return buf, s, false
			}
			i += n - 1
			start = i + 1
		case c >= utf8.RuneSelf:
			r, n := utf8.DecodeRune(s[i:])
			if r == utf8.RuneError && n == 1 {
				return buf, s, false
			}
			i += n - 1
		}
	}
	return buf, s, false
}

// unescapeOne returns the length of the escape at s, 0 if it is odd.
func unescapeOne(s, buf []byte) ([]byte, int) {
	if len(s) < 2 {
		return buf, 0
	}
	switch s[1] {
	case '"', '\\', '/':
		return append(buf, s[1]), 2
	case 'n':
		return append(buf, '\n'), 2
	case 'r':
		return append(buf, '\r'), 2
	case 't':
		return append(buf, '\t'), 2
	case 'u':
		if len(s) < 6 {
			return buf, 0
		}
		var r rune
		for _, c := range s[2:6] {
			d := bytes.IndexByte([]byte("0123456789abcdef"), c)
			if d < 0 {
				return buf, 0
			}
			r = r<<4 | rune(d)
		}
		if r >= 0xd800 && r < 0xe000 {
			return buf, 0
		}
		return utf8.AppendRune(buf, r), 6
	}
	return buf, 0
}
