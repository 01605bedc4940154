package journal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
)

const (
	// fileMagic begins every file, so that no other file is taken for a journal
	// and truncated.
	fileMagic = "devbroker journal 1\n"
	// snapshotEnd ends a snapshot. Records of users begin with another octet.
	snapshotEnd = "\xffend of snapshot"

	recordHeader = 8 // length and checksum
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// errDamaged says that a record is cut short or does not match its checksum.
var errDamaged = errors.New("damaged record")

func appendRecord(dst, record []byte) []byte {
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(record)))
	dst = binary.LittleEndian.AppendUint32(dst, crc32.Checksum(record, castagnoli))
	return append(dst, record...)
}

// nextRecord splits the first record off b. An empty record counts as damage:
// otherwise a tail of zeros, which some file systems leave after a power
// failure, would look like empty records with a valid checksum.
func nextRecord(b []byte) (record, rest []byte, err error) {
	if len(b) < recordHeader {
		return nil, nil, errDamaged
	}
	size, sum := binary.LittleEndian.Uint32(b), binary.LittleEndian.Uint32(b[4:])
	b = b[recordHeader:]
	if size == 0 || uint64(size) > uint64(len(b)) || crc32.Checksum(b[:size], castagnoli) != sum {
		return nil, nil, errDamaged
	}
	return b[:size], b[size:], nil
}

func logPath(dir string, generation uint64) string {
	return filepath.Join(dir, fmt.Sprintf("%08d.journal", generation))
}

func snapshotPath(dir string, generation uint64) string {
	return filepath.Join(dir, fmt.Sprintf("%08d.snapshot", generation))
}

// createLog creates an empty log and makes its name durable.
func createLog(dir string, generation uint64) (*os.File, error) {
	f, err := os.OpenFile(logPath(dir, generation), os.O_CREATE|os.O_TRUNC|os.O_RDWR|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	if _, err = f.WriteString(fileMagic); err == nil {
		err = syncDir(dir)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close(), os.Remove(f.Name()))
	}
	return f, nil
}
