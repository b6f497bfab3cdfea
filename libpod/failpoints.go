// SPDX-License-Identifier: Apache-2.0

package libpod

// The failpoints of the engine, one after each step that leaves something
// behind; see docs/STATE.md.
const (
	FailpointCreateLocked    = "create.locked"    // runtime directory made and locked
	FailpointCreateDirs      = "create.dirs"      // writable layer's directories made
	FailpointCreateReserved  = "create.reserved"  // record "creating" with id, name and volumes
	FailpointCreateVolumes   = "create.volumes"   // volume directories made
	FailpointCreateCommitted = "create.committed" // record "created"
	FailpointStartIntended   = "start.intended"   // record says that a start is under way
	FailpointStartLaunched   = "start.launched"   // monitor process exists
	FailpointStartSent       = "start.sent"       // monitor has its configuration
	FailpointStartReady      = "start.ready"      // process runs
	FailpointStartCommitted  = "start.committed"  // record "running"
	FailpointExitSeen        = "exit.seen"        // the front end knows of the end
	FailpointExitSettled     = "exit.settled"     // record settled
	FailpointRemoveLocked    = "remove.locked"    // lock taken
	FailpointRemoveMarked    = "remove.marked"    // record "removing"
	FailpointRemoveData      = "remove.data"      // data directory gone
	FailpointRemoveDeleted   = "remove.deleted"   // record gone
)
