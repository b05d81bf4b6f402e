import tseslint from 'typescript-eslint';

// Biome formats and does the untyped rules. ESLint only adds the rules that need types.
export default tseslint.config(
  { ignores: ['**/dist/**', '**/dist-test/**', '**/node_modules/**', '**/.tap/**', 'bench/results/**', 'bench/build/**'] },
  {
    files: ['**/*.ts'],
    extends: [tseslint.configs.strictTypeCheckedOnly],
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } },
    linterOptions: { reportUnusedDisableDirectives: 'error' },
    rules: {
      '@typescript-eslint/no-explicit-any': 'error',
      '@typescript-eslint/switch-exhaustiveness-check': ['error', { considerDefaultExhaustiveForUnions: true }],
      '@typescript-eslint/return-await': ['error', 'error-handling-correctness-only'],
      '@typescript-eslint/restrict-template-expressions': ['error', { allowNumber: true, allowBoolean: true }],
      // `return refuse(why)` in a handler reads well.
      '@typescript-eslint/no-confusing-void-expression': 'off',
      // A method of an interface may be async only because its siblings are.
      '@typescript-eslint/require-await': 'off',
      // Narrowing does not see what a callback or an await changed meanwhile, so this one is wrong where it matters most.
      '@typescript-eslint/no-unnecessary-condition': 'off',
      '@typescript-eslint/no-unnecessary-type-parameters': 'off', // `get<T>(token: Token<T>): T` and the like are how tokens are typed
    },
  },
  {
    files: ['**/test/**/*.ts'],
    rules: {
      // tap's subtests return promises that tap itself waits for.
      '@typescript-eslint/no-floating-promises': 'off',
      '@typescript-eslint/unbound-method': 'off',
    },
  },
);
