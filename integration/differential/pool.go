package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
)

// recordAll has the policies recorded by some workers at a time and returns what
// came of them in their order.
func recordAll(ctx context.Context, root string, workers int, jobs []job) ([]result, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	queue := make(chan job, len(jobs))
	for i, j := range jobs {
		j.Index = i
		queue <- j
	}
	close(queue)
	results := make([]result, len(jobs))
	failed := make(chan error, workers)
	var group sync.WaitGroup
	for range workers {
		group.Go(func() {
			if err := runWorker(ctx, root, queue, results); err != nil {
				failed <- err
				cancel()
			}
		})
	}
	group.Wait()
	close(failed)
	return results, <-failed
}

// runWorker starts a worker and gives it jobs until there are none left. Each
// result has its place in results.
func runWorker(ctx context.Context, root string, queue <-chan job, results []result) (err error) {
	cmd := workerCommand(ctx, root)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("worker (needs root): %w", err)
	}
	defer func() {
		err = errors.Join(err, stdin.Close(), cmd.Wait())
	}()
	enc, dec := json.NewEncoder(stdin), json.NewDecoder(bufio.NewReader(stdout))
	for j := range queue {
		if err := enc.Encode(&j); err != nil {
			return fmt.Errorf("worker: %w", err)
		}
		var res result
		if err := dec.Decode(&res); errors.Is(err, io.EOF) {
			return errors.New("worker: ended early")
		} else if err != nil {
			return fmt.Errorf("worker: %w", err)
		}
		results[j.Index] = res
	}
	return nil
}
