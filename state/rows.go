package state

import (
	"container/list"
	"sync"
)

// rowCache keeps the decoded rows used last, so that a hot row is not decoded
// for each message. The lock is for Discard alone, which comes from another
// goroutine than the handler's.
type rowCache struct {
	mu    sync.Mutex
	limit int
	order *list.List // of cachedRow, newest first
	byKey map[string]*list.Element
}

type cachedRow struct {
	key string
	row any
}

func newRowCache(limit int) *rowCache {
	return &rowCache{limit: limit, order: list.New(), byKey: map[string]*list.Element{}}
}

func (c *rowCache) get(key string) (any, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.byKey[key]
	if !ok {
		return nil, false
	}
	c.order.MoveToFront(e)
	return e.Value.(*cachedRow).row, true
}

func (c *rowCache) put(key string, row any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e, ok := c.byKey[key]; ok {
		e.Value.(*cachedRow).row = row
		c.order.MoveToFront(e)
		return
	}
	if c.limit <= 0 {
		return
	}
	if c.order.Len() >= c.limit {
		oldest := c.order.Back()
		delete(c.byKey, oldest.Value.(*cachedRow).key)
		c.order.Remove(oldest)
	}
	c.byKey[key] = c.order.PushFront(&cachedRow{key, row})
}

func (c *rowCache) remove(key string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e, ok := c.byKey[key]; ok {
		delete(c.byKey, key)
		c.order.Remove(e)
	}
}

func (c *rowCache) clear() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.order.Init()
	clear(c.byKey)
}
