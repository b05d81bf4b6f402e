/** Until the promise is fulfilled, or for `ms`. For a promise that does not reject. */
export function atMost(promise: Promise<unknown>, ms: number): Promise<void> {
  return new Promise((resolve) => {
    const limit = setTimeout(resolve, ms);
    void promise.then(() => {
      clearTimeout(limit);
      resolve();
    });
  });
}
