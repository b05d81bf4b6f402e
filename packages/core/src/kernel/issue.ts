/** As zod's, so that they are told alike. */
export type Issue = Readonly<Record<string, unknown>>;

export function issue(path: readonly (string | number)[], message: string): Issue {
  return { code: 'custom', path, message };
}
