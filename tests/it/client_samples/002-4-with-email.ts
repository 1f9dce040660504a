// Usage with email
const result = await login({
email: '[email protected]',
password: 'password123'
});
