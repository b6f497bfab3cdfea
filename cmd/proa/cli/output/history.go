// SPDX-License-Identifier: Apache-2.0

package output

import (
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/proa-containers/proa/libpod"
	"github.com/proa-containers/proa/pkg/spec"
)

const missing = "<missing>"

// HistoryRow is one step of an image's making.
type HistoryRow struct {
	Comment      string
	CreatedAt    string
	CreatedBy    string
	CreatedSince string
	ID           string
	Size         string
}

// HistoryHeader holds the titles of the columns of history.
func HistoryHeader() *HistoryRow {
	return &HistoryRow{ID: "IMAGE", CreatedSince: "CREATED", CreatedAt: "CREATED AT", CreatedBy: "CREATED BY", Size: "SIZE", Comment: "COMMENT"}
}

// HistoryColumns is the default table of history.
func HistoryColumns() []string { return []string{"ID", "CreatedSince", "CreatedBy", "Size", "Comment"} }

// printable is what an image says of itself with spaces for control characters:
// an image must not steer the terminal. Whole texts keep their lines.
func printable(text string, lines bool) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) && (r != '\n' || !lines) {
			return ' '
		}
		return r
	}, text)
}

// History makes the row of one step. Without human, sizes are bytes and dates
// are whole.
func History(h *libpod.ImageHistory, now time.Time, noTrunc, human bool) *HistoryRow {
	r := &HistoryRow{ID: missing, Comment: printable(h.Comment, noTrunc), CreatedBy: printable(h.CreatedBy, noTrunc), CreatedSince: "N/A"}
	if h.ID != "" {
		r.ID = "sha256:" + h.ID
		if !noTrunc {
			r.ID = spec.ShortID(h.ID)
		}
	}
	if !noTrunc {
		r.CreatedBy = ellipsis(r.CreatedBy, 45)
	}
	if h.Created.Unix() > 0 {
		r.CreatedAt = h.Created.Local().Format(time.RFC3339)
		r.CreatedSince = r.CreatedAt
		if human {
			r.CreatedSince = Ago(now, h.Created)
		}
	}
	r.Size = strconv.FormatInt(h.Size, 10)
	if human {
		r.Size = Size(h.Size)
	}
	return r
}

// SearchRow is one repository that search found.
type SearchRow struct {
	Description string
	Index       string
	IsOfficial  string
	Name        string
	StarCount   string
}

// SearchHeader holds the titles of the columns of search.
func SearchHeader() *SearchRow {
	return &SearchRow{Index: "INDEX", Name: "NAME", Description: "DESCRIPTION", StarCount: "STARS", IsOfficial: "OFFICIAL"}
}

// Search makes the row of one repository.
func Search(s *libpod.SearchResult, noTrunc bool) *SearchRow {
	r := &SearchRow{Index: s.Registry, Name: plain(s.Name), Description: plain(s.Description), StarCount: strconv.Itoa(s.Stars)}
	if !noTrunc {
		r.Description = ellipsis(r.Description, 45)
	}
	if s.Official {
		r.IsOfficial = "[OK]"
	}
	return r
}

// plain is a stranger's text for a terminal: on one line, and without anything
// that the terminal would obey.
func plain(text string) string {
	visible := strings.Map(func(r rune) rune {
		if unicode.IsControl(r) && !unicode.IsSpace(r) {
			return -1
		}
		return r
	}, text)
	return strings.Join(strings.Fields(visible), " ")
}

// DiskRow is one line of system df.
type DiskRow struct {
	Active      string
	Reclaimable string
	Size        string
	TotalCount  string
	Type        string
}

// DiskHeader holds the titles of the columns of system df.
func DiskHeader() *DiskRow {
	return &DiskRow{Type: "TYPE", TotalCount: "TOTAL", Active: "ACTIVE", Size: "SIZE", Reclaimable: "RECLAIMABLE"}
}

// Disk makes one line of system df.
func Disk(typ string, u libpod.DiskUse) *DiskRow {
	r := &DiskRow{Type: typ, TotalCount: strconv.Itoa(u.Total), Active: strconv.Itoa(u.Active), Size: Size(u.Size), Reclaimable: Size(u.Reclaimable)}
	if u.Size > 0 && typ != "Build Cache" {
		r.Reclaimable += " (" + strconv.FormatInt(u.Reclaimable*100/u.Size, 10) + "%)"
	}
	return r
}
