// SPDX-License-Identifier: Apache-2.0

package read

import (
	"encoding/json"
	"io"
	"maps"
	"net/url"
	"slices"
	"strings"

	"github.com/proa-containers/proa/pkg/logs"
)

// Printer writes records the way the logs command shows them; its method Emit
// is for Read.
type Printer struct {
	Out, Err   io.Writer
	Timestamps bool
	Details    bool      // the attributes come before the line
	Prefix     [3]string // by stream, at the beginning of a line; for several containers
	mid        [3]bool   // the line is not at its beginning
	buf        []byte
}

// Emit writes r to the stream that it came from. A time stands at the
// beginning of a line only, however many parts the line has.
func (p *Printer) Emit(r *logs.Record) error {
	b := p.buf[:0]
	if !p.mid[r.Stream] {
		b = append(b, p.Prefix[r.Stream]...)
		if p.Timestamps {
			b = r.Time.UTC().AppendFormat(b, logs.K8sTime)
			b = append(b, ' ')
		}
		if p.Details {
			b = append(append(b, details(r.Attrs)...), ' ')
		}
	}
	b = append(b, r.Line...)
	if !r.Partial {
		b = append(b, '\n')
	}
	p.mid[r.Stream] = r.Partial
	p.buf = b
	w := p.Out
	if r.Stream == logs.Stderr {
		w = p.Err
	}
	_, err := w.Write(b)
	return err
}

// details writes attributes as Docker does: k=v,k=v sorted by k, quoted as in a
// URL.
func details(object []byte) string {
	var attrs map[string]string
	if len(object) == 0 || json.Unmarshal(object, &attrs) != nil {
		return ""
	}
	var list []string
	for _, k := range slices.Sorted(maps.Keys(attrs)) {
		list = append(list, url.QueryEscape(k)+"="+url.QueryEscape(attrs[k]))
	}
	return strings.Join(list, ",")
}
