package state

import "github.com/cespare/xxhash/v2"

// known is a set of keys that may be on disk: one that it has not is not there.
// Most rows that a view is told of are new, and to look for them on disk is most
// of what they cost. It takes 2 to 4 bytes a key, and takes one that is not in it
// for one that is in some of a hundred times.
type known struct {
	layers []layer // each twice as large as the one before
}

// layer is a Bloom filter, whose 4 bits of a key lie in the same 64.
type layer struct {
	words []uint64
	room  int // for so many keys more
}

const (
	firstLayer = 1 << 10 // keys
	bitsPerKey = 16
)

// bits returns the word of a hash and its bits in there.
func (l *layer) bits(h uint64) (word *uint64, bits uint64) {
	word = &l.words[(h>>32)*uint64(len(l.words))>>32]
	return word, 1<<(h&63) | 1<<(h>>6&63) | 1<<(h>>12&63) | 1<<(h>>18&63)
}

func (k *known) add(key string) {
	if k.has(key) {
		return
	}
	last := len(k.layers) - 1
	if last < 0 || k.layers[last].room == 0 {
		keys := firstLayer << (last + 1)
		k.layers = append(k.layers, layer{make([]uint64, keys*bitsPerKey/64), keys})
		last++
	}
	l := &k.layers[last]
	word, bits := l.bits(xxhash.Sum64String(key))
	*word |= bits
	l.room--
}

func (k *known) has(key string) bool {
	h := xxhash.Sum64String(key)
	for i := range k.layers {
		if word, bits := k.layers[i].bits(h); *word&bits == bits {
			return true
		}
	}
	return false
}
